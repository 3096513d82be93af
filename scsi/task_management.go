package scsi

// A Function is a task management function (SAM-5 7).
type Function uint8

// The task management functions. CLEAR ACA is not among those supported, for
// there is no ACA condition.
const (
	AbortTask              Function = iota + 1 // SAM-5 7.2
	AbortTaskSet                               // SAM-5 7.3
	ClearACA                                   // SAM-5 7.4
	ClearTaskSet                               // SAM-5 7.5
	ITNexusReset                               // SAM-5 7.6
	LogicalUnitReset                           // SAM-5 7.7
	QueryTask                                  // SAM-5 7.8
	QueryTaskSet                               // SAM-5 7.9
	QueryAsynchronousEvent                     // SAM-5 7.10
)

// A Response is the service response of a task management function (SAM-5 7.1).
type Response uint8

// The service responses. Those of QUERY ASYNCHRONOUS EVENT have bytes beside
// them, which no transport protocol here carries.
const (
	FunctionComplete Response = iota
	FunctionSucceeded
	FunctionRejected
	IncorrectLogicalUnitNumber
)
