package meter

// A Flow counts what goes through a session or a target. The zero Flow is ready for use.
type Flow struct {
	by       [Directions]stream
	outcomes outcomes
}

// FlowCount is what a Flow has counted.
type FlowCount struct {
	By       [Directions]StreamCount
	Failures Failures
}

// Count is what has been counted until now.
func (f *Flow) Count() (c FlowCount) {
	for d := range f.by {
		c.By[d] = f.by[d].count()
	}
	c.Failures = f.outcomes.failures()
	return c
}

// Add adds what o has counted.
func (c *FlowCount) Add(o *FlowCount) {
	for d := range c.By {
		c.By[d].Add(&o.By[d])
	}
	c.Failures.Add(o.Failures)
}
