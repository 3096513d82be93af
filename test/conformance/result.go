package conformance

// A Status is what became of one test of the suite in one run.
type Status string

// The statuses. A test that was not run in a shape has none.
const (
	Pass Status = "PASS" // it made assertions, all held, and it did not skip
	Fail Status = "FAIL" // an assertion failed, or the tool or the target died in it
	Skip Status = "SKIP" // it skipped itself, aloud or silently
	Hang Status = "HANG" // no result before the time ran out, though the target answers
)

// A Result is what became of one test, by its name Suite.Test, and why.
type Result struct {
	Test   string `json:"test"`
	Status Status `json:"status"`
	Reason string `json:"reason,omitempty"`
}
