package main

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// comparison is one work, done by thrum and by its peers.
type comparison struct {
	name   string
	floats int
	own    func()
	peers  []peer
	check  func() error
}

type peer struct {
	name   string
	target float64 // that ratio is to be reached; 0 if none is
	work   func()
}

func (p peer) goal() string {
	if p.target == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", p.target)
}

// cost is time for a float, in nanoseconds.
type cost struct{ cpu, clock float64 }

// spread is what of many figures is told.
type spread struct{ median, least, most float64 }

func spreadOf(all []float64) spread {
	slices.Sort(all)
	return spread{all[len(all)/2], all[0], all[len(all)-1]}
}

type result struct {
	peer       peer
	own, other cost
	ratio      spread
	cal        float64 // cycles a nanosecond
}

func (r result) verdict() string {
	switch {
	case r.peer.target == 0:
		return ""
	case r.ratio.median >= r.peer.target:
		return "held"
	}
	return "missed"
}

// measure runs thrum and each peer in turn.
func (c comparison) measure(rounds int, length time.Duration) []result {
	results := make([]result, len(c.peers))
	for i, p := range c.peers {
		var own, other [2][]float64
		var ratios, cals []float64
		for range rounds {
			a, b := timed(c.own, length, c.floats), timed(p.work, length, c.floats)
			own[0], own[1] = append(own[0], a.cpu), append(own[1], a.clock)
			other[0], other[1] = append(other[0], b.cpu), append(other[1], b.clock)
			ratios = append(ratios, b.cpu/a.cpu)
			cals = append(cals, calibrate())
		}
		results[i] = result{
			peer: p, ratio: spreadOf(ratios), cal: spreadOf(cals).median,
			own:   cost{spreadOf(own[0]).median, spreadOf(own[1]).median},
			other: cost{spreadOf(other[0]).median, spreadOf(other[1]).median},
		}
	}
	return results
}

// allocations returns how many there are in one call of thrum's.
func (c comparison) allocations() float64 { return testing.AllocsPerRun(10, c.own) }

// timed repeats work for a while.
func timed(work func(), length time.Duration, floats int) cost {
	began, used := time.Now(), threadTime()
	n := 0
	for time.Since(began) < length {
		work()
		n += floats
	}
	used = threadTime() - used
	return cost{float64(used) / float64(n), float64(time.Since(began)) / float64(n)}
}

// threadTime returns the time that this thread has had on a processor.
func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err) // Linux has this clock
	}
	return time.Duration(t.Nano())
}

var sink uint64

// calibrate returns the processor's cycles in a nanosecond: a multiplication that waits for the one
// before it takes three.
func calibrate() float64 {
	const n = 1 << 18
	x, used := sink|3, threadTime()
	for range n {
		x *= 0x9e3779b97f4a7c15
	}
	used = threadTime() - used
	sink = x
	return 3 * n / float64(used)
}
