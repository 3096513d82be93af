package job

import "time"

// A State is how far a job is.
type State string

// The states of a job. The last three are final.
const (
	Running    State = "running"
	Cancelling State = "cancelling" // it was told to end, and has not yet
	Done       State = "done"
	Failed     State = "failed"
	Cancelled  State = "cancelled"
)

// Final tells whether a job of this state has ended.
func (s State) Final() bool { return s == Done || s == Failed || s == Cancelled }

// A Status is how a job is at a moment. Amounts are bytes.
type Status struct {
	ID     string `json:"id"`
	Kind   string `json:"kind"`   // what is done: "allocate", "grow", "verify"
	Object string `json:"object"` // to what: the name of a LUN
	Phase  string `json:"phase"`  // the part that it is at; amounts are of this part
	State  State  `json:"state"`
	Error  string `json:"error"`  // why it failed or was cancelled
	Result string `json:"result"` // what has become of it, in words

	Done  int64 `json:"bytes-done"`
	Total int64 `json:"bytes-total"`      // 0: not known
	Rate  int64 `json:"bytes-per-second"` // of the last seconds; of the whole job when it has ended
	Left  int64 `json:"seconds-left"`     // -1: not known

	Unreadable []Unreadable `json:"unreadable,omitempty"` // what of the object cannot be read, as far as it was looked at: MaxUnreadable ranges at most

	Began time.Time `json:"began"`
	Ended time.Time `json:"ended,omitzero"`
}
