package isns

import "fmt"

// A Status is how a request ended (RFC 4171 5.4).
type Status uint32

// The statuses that mean something to us.
const (
	Successful                      Status = 0
	MessageFormatError              Status = 2
	NoSuchEntry                     Status = 9
	MessageNotSupported             Status = 15
	SCNRegistrationRejected         Status = 17
	ESINotAvailable                 Status = 21
	RegistrationFeatureNotSupported Status = 23
)

// statusText are the words of RFC 4171 5.4, by number.
func statusText(s Status) string {
	words := [...]string{
		"Successful", "Unknown Error", "Message Format Error", "Invalid Registration", "", "Invalid Query", "Source Unknown", "Source Absent",
		"Source Unauthorized", "No Such Entry", "Version Not Supported", "Internal Error", "Busy", "Option Not Understood", "Invalid Update",
		"Message (FUNCTION_ID) Not Supported", "SCN Event Rejected", "SCN Registration Rejected", "Attribute Not Implemented",
		"FC_DOMAIN_ID Not Available", "FC_DOMAIN_ID Not Allocated", "ESI Not Available", "Invalid Deregistration",
		"Registration Feature Not Supported",
	}
	if int64(s) < int64(len(words)) {
		return words[s]
	}
	return ""
}

func (s Status) String() string {
	if text := statusText(s); text != "" {
		return text
	}
	return fmt.Sprintf("status %d", uint32(s))
}

// A RefusalError is the answer of a server that does not do what it was asked for.
type RefusalError struct {
	Function Function // of the request
	Status   Status
}

func (e *RefusalError) Error() string {
	return fmt.Sprintf("the iSNS server refuses %v: %v", e.Function, e.Status)
}
