package load

// A Result is what one run showed.
type Result struct {
	Seconds        float64 `json:"seconds"` // measured
	Commands       uint64  `json:"commands"`
	Reads          uint64  `json:"reads"`
	Writes         uint64  `json:"writes"`
	Total          uint64  `json:"total"` // commands, those of the warm-up and of the end too
	PerSecond      float64 `json:"per_second"`
	BytesPerSecond float64 `json:"bytes_per_second"`
	Mean           float64 `json:"mean_us"` // latency, microseconds
	P50            float64 `json:"p50_us"`
	P99            float64 `json:"p99_us"`
	P999           float64 `json:"p999_us"`
	Max            float64 `json:"max_us"`
	Slowest        float64 `json:"slowest"`               // commands of the slowest connection over the mean of all connections
	Errors         uint64  `json:"errors"`                // commands that did not end well
	FirstError     string  `json:"first_error,omitempty"` // how the first of them ended
	Verified       uint64  `json:"verified,omitempty"`    // sectors that were compared
	Corrupt        uint64  `json:"corrupt,omitempty"`     // sectors with other data than was written
	LoadCPU        float64 `json:"load_cpu"`              // processors that the load generator used
	TargetCPU      float64 `json:"target_cpu"`
	OtherCPU       float64 `json:"other_cpu"` // everything else
	Stolen         float64 `json:"stolen"`
	TargetMicros   float64 `json:"target_us"` // CPU of the target for one command, microseconds
	TargetResident int64   `json:"target_resident"`
}
