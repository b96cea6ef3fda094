// Package turns measures one work beside another in turns, A B A B, so that a machine whose clock
// or neighbours change hits both: what counts is the median of the ratios of neighbours. It prints
// what was found as a table of rows with targets.
package turns

import (
	"fmt"
	"slices"
	"syscall"
	"time"
)

// Plan says how long to measure.
type Plan struct {
	Rounds int
	Length time.Duration // of one side of a round; what takes longer runs once
}

// Timing is what some runs took.
type Timing struct {
	Runs  int
	Clock time.Duration
	CPU   time.Duration // of all threads
}

// Side is one of two works that are compared: it runs for a while and says how often it did.
type Side func(length time.Duration) (Timing, error)

// Own returns the side of a work in this process.
func Own(work func() error) Side {
	return func(length time.Duration) (Timing, error) {
		var t Timing
		began, used := time.Now(), processTime()
		for t.Runs == 0 || time.Since(began) < length {
			if err := work(); err != nil {
				return t, err
			}
			t.Runs++
		}
		t.Clock, t.CPU = time.Since(began), processTime()-used
		return t, nil
	}
}

// processTime returns the time that this process has had on processors.
func processTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // the arguments are right
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Spread is what of many figures is told.
type Spread struct{ Median, Least, Most float64 }

// SpreadOf returns the spread of figures.
func SpreadOf(all []float64) Spread {
	sorted := slices.Sorted(slices.Values(all))
	return Spread{sorted[len(sorted)/2], sorted[0], sorted[len(sorted)-1]}
}

// Times returns the spread of the figures multiplied by f.
func (s Spread) Times(f float64) Spread { return Spread{s.Median * f, s.Least * f, s.Most * f} }

// String returns the spread as "1.07 (0.98–1.12)".
func (s Spread) String() string {
	return fmt.Sprintf("%.2f (%.2f–%.2f)", s.Median, s.Least, s.Most)
}

// Result is what comparing two sides gave.
type Result struct {
	Clock, CPU       Spread        // how often the second side's time for a run is the first side's
	Own, Other       time.Duration // the median time of a run
	OwnCPU, OtherCPU time.Duration
}

// Compare lets both sides run in turns. Each has had one run, which does not count.
func (p Plan) Compare(own, other Side) (Result, error) {
	for _, side := range []Side{own, other} {
		if _, err := side(p.Length / 10); err != nil {
			return Result{}, err
		}
	}
	var clock, cpu []float64
	var times [4][]float64
	for range p.Rounds {
		a, err := own(p.Length)
		if err != nil {
			return Result{}, err
		}
		b, err := other(p.Length)
		if err != nil {
			return Result{}, err
		}
		figures := [4]float64{a.each(a.Clock), b.each(b.Clock), a.each(a.CPU), b.each(b.CPU)}
		for i, f := range figures {
			times[i] = append(times[i], f)
		}
		clock, cpu = append(clock, figures[1]/figures[0]), append(cpu, figures[3]/figures[2])
	}
	median := func(i int) time.Duration { return time.Duration(SpreadOf(times[i]).Median) }
	return Result{SpreadOf(clock), SpreadOf(cpu), median(0), median(1), median(2), median(3)}, nil
}

func (t Timing) each(total time.Duration) float64 { return float64(total) / float64(t.Runs) }

// String returns the ratios with the times that they come from.
func (r Result) String() string {
	return fmt.Sprintf("%v×, CPU time %.2f×; %v beside %v", r.Clock, r.CPU.Median, rounded(r.Own), rounded(r.Other))
}

// rounded returns three digits of d.
func rounded(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit)
}
