// Package schedule says when requests are meant to start. A schedule is computed from a profile
// and a seed before the run and never changed by what happens in it: a server that slows down
// gets no fewer requests, and the wait that this causes counts.
package schedule

import "time"

// Schedule is the intended starts of a run.
type Schedule struct {
	Profile string // how it was asked for, such as "poisson 500/s for 30s"
	Seed    uint64
	Starts  []time.Duration // ascending, from the beginning of the run
	Steps   []Step          // consecutive, from 0 to the end; at least one
}

// Step is a part of a schedule whose answers are counted apart.
type Step struct {
	Name       string        // such as "50 %"; unique in its schedule
	Begin, End time.Duration // a start belongs to the step with Begin <= start < End
	Rate       float64       // starts per second on average, as asked for
	Warmup     bool          // its answers are not counted
}
