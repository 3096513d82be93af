package sbc

import "time"

// A SanitizeProgress is how far a sanitize operation is. Amounts are bytes, of all its
// passes.
type SanitizeProgress struct {
	Action      string // what is done, in the words of SBC-3 5.25
	Done, Total int64
	Began       time.Time // or when the daemon began it anew
}

// Sanitizing tells of the sanitize operation that runs; ok is false when none does.
func (d *Device) Sanitizing() (p SanitizeProgress, ok bool) {
	z := &d.sanitize
	if !z.busy.Load() {
		return p, false
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.now.State != sanitizing {
		return p, false
	}
	p = SanitizeProgress{Action: "overwrite", Done: z.done.Load(), Total: z.total.Load(), Began: z.began}
	if z.now.Action == sanitizeBlockErase {
		p.Action = "block erase"
	}
	return p, true
}
