package shm

import "time"

// clock turns Go's times into the clock that both processes share and back.
type clock struct {
	start     time.Time
	monotonic int64 // at start
}

func newClock() clock { return clock{start: time.Now(), monotonic: monotonic()} }

// nanoseconds returns t by the shared clock; never 0, which means no deadline.
func (c clock) nanoseconds(t time.Time) int64 {
	if n := c.monotonic + int64(t.Sub(c.start)); n != 0 {
		return n
	}
	return 1
}

func (c clock) time(nanoseconds int64) time.Time {
	return c.start.Add(time.Duration(nanoseconds - c.monotonic))
}
