package scenario

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/thrumserve/thrum/loadtest/result"
	"github.com/thrumserve/thrum/loadtest/stats"
)

// Sample is what a server holds at a time. What is not known is 0.
type Sample struct {
	At         time.Duration
	Memory     float64 // bytes, resident
	Goroutines float64
	Files      float64 // open descriptors
}

// Watch samples once a second until ctx ends. What sample does not know at a time is left out.
func Watch(ctx context.Context, sample func(context.Context) (Sample, bool)) []Sample {
	var samples []Sample
	began := time.Now()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return samples
		case <-tick.C:
		}
		if s, ok := sample(ctx); ok {
			s.At = time.Since(began)
			samples = append(samples, s)
		}
	}
}

// Own returns the samples with a server's own files alone: each connection of the load test is one more
// in the server, and how many there are is the load test's doing. began is when the samples did.
func Own(samples []Sample, began time.Time, r *result.Run) []Sample {
	own := slices.Clone(samples)
	for i := range own {
		at := began.Add(own[i].At).Sub(r.Began)
		// The windows tell of their ends.
		k := int(at.Round(time.Second)/time.Second) - 1
		if k < 0 || len(r.Windows) == 0 {
			continue
		}
		open := float64(r.Windows[min(k, len(r.Windows)-1)].Open)
		own[i].Files = max(own[i].Files-open, min(own[i].Files, 1)) // 0 would be unknown
	}
	return own
}

// After returns the samples from a time on. At the beginning of a load connections are made, pools are
// filled and heaps find their size: that grows, and is no leak.
func After(samples []Sample, warmUp time.Duration) []Sample {
	i := slices.IndexFunc(samples, func(s Sample) bool { return s.At >= warmUp })
	if i < 0 {
		return nil
	}
	return samples[i:]
}

// Growth is how fast something grows, per minute, with the confidence of 95 %.
type Growth struct {
	Name    string
	Slope   stats.Interval
	Floor   float64       // a growth that matters
	Verdict stats.Verdict // Changed: it grows, and it may be by as much as the floor
}

// The growths that matter, per minute.
const (
	MemoryFloor    = 0.75 * (1 << 20) // bytes: a leak of 1 MB a minute is caught, and the healthy have room to breathe
	GoroutineFloor = 5                // the connections of the test are among these
	FileFloor      = 5
)

// Soak judges the samples of a soak, which are in the order of time: growths of what is known.
func Soak(samples []Sample) []Growth {
	var growths []Growth
	for _, g := range []struct {
		name  string
		floor float64
		value func(Sample) float64
	}{
		{"memory", MemoryFloor, func(s Sample) float64 { return s.Memory }},
		{"goroutines", GoroutineFloor, func(s Sample) float64 { return s.Goroutines }},
		{"files", FileFloor, func(s Sample) float64 { return s.Files }},
	} {
		var points []stats.Point
		for _, s := range samples {
			if v := g.value(s); v > 0 {
				points = append(points, stats.Point{At: s.At.Minutes(), Value: v})
			}
		}
		if len(points) == 0 {
			continue
		}
		slope, _ := stats.Slope(points) // of too few it is unknown, and so judged
		growths = append(growths, Growth{g.name, slope, g.floor, slope.Judge(g.floor)})
	}
	return growths
}

// String is one line.
func (g Growth) String() string {
	unit, scale := "", 1.0
	if g.Name == "memory" {
		unit, scale = "MiB", 1<<20
	}
	if math.IsNaN(g.Slope.Estimate) {
		return g.Name + ": too short to tell"
	}
	word := map[stats.Verdict]string{stats.Same: "steady", stats.Changed: "LEAKING", stats.CannotTell: "cannot tell"}[g.Verdict]
	return fmt.Sprintf("%s: %+.3g %s/min (95 %%: %+.3g to %+.3g), %s", g.Name, g.Slope.Estimate/scale, unit, g.Slope.Low/scale, g.Slope.High/scale, word)
}

// Leaks is the verdict over all: Fail if anything leaks, Unstable if something cannot be told or
// nothing is known.
func Leaks(growths []Growth) Verdict {
	if len(growths) == 0 {
		return Unstable
	}
	verdict := Pass
	for _, g := range growths {
		switch g.Verdict {
		case stats.Changed:
			verdict = Worst(verdict, Fail)
		case stats.CannotTell:
			verdict = Worst(verdict, Unstable)
		}
	}
	return verdict
}
