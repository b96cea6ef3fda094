package result

import (
	"fmt"
	"slices"
	"time"
)

// Merge returns repetitions of the same run as one run: counts add up, and their courses follow one
// another. Only the seeds may differ; what else differs is in the error, as is a run that comes twice. The runs are not changed,
// but share histograms of windows with what is returned.
func Merge(runs ...*Run) (*Run, error) {
	if len(runs) == 0 {
		return nil, fmt.Errorf("merge: no runs")
	}
	merged := &Run{Asked: runs[0].Asked, Began: runs[0].Began, Generator: Generator{Delay: (*Histogram)(nil).Clone()}}
	for i, r := range runs {
		if err := same(runs[0], r); err != nil {
			return nil, fmt.Errorf("merge: run %d was not asked for the same as run 1: %w", i+1, err)
		}
		again := slices.IndexFunc(runs[:i], func(o *Run) bool { return o.Began.Equal(r.Began) && o.Asked.Seed == r.Asked.Seed })
		if again >= 0 {
			return nil, fmt.Errorf("merge: run %d is run %d again: it would count twice", i+1, again+1)
		}
		merged.addSteps(r.Steps)
		for _, w := range r.Windows {
			w.Begin += merged.Took
			merged.Windows = append(merged.Windows, w)
		}
		merged.Took += max(r.Took, course(r))
		merged.Generator.add(r.Generator)
		merged.Server.add(r.Server)
		merged.remark(i+1, r)
		if r.Began.Before(merged.Began) {
			merged.Began = r.Began
		}
	}
	return merged, nil
}

// same says what keeps two runs from being merged.
func same(a, b *Run) error {
	for _, f := range []struct {
		name string
		a, b any
	}{
		{"target", a.Asked.Target, b.Asked.Target},
		{"model", a.Asked.Model, b.Asked.Model},
		{"version", a.Asked.Version, b.Asked.Version},
		{"body", a.Asked.Body, b.Asked.Body},
		{"profile", a.Asked.Profile, b.Asked.Profile},
		{"closed loop", a.Asked.Closed, b.Asked.Closed},
		{"connections", a.Asked.Connections, b.Asked.Connections},
		{"time limit", a.Asked.Timeout, b.Asked.Timeout},
		{"inputs", a.Asked.Inputs, b.Asked.Inputs},
		{"cache", a.Asked.Cache, b.Asked.Cache},
		{"warm-up", a.Asked.WarmUp, b.Asked.WarmUp},
		{"headers", a.Asked.Headers, b.Asked.Headers},
	} {
		if f.a != f.b {
			return fmt.Errorf("%s %v, want %v", f.name, show(f.b), show(f.a))
		}
	}
	return nil
}

func show(v any) string {
	if s, ok := v.(string); ok {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprint(v)
}

// addSteps counts steps by their names: a run that was stopped early lacks the last of them.
func (r *Run) addSteps(steps []Step) {
	for _, s := range steps {
		i := slices.IndexFunc(r.Steps, func(t Step) bool { return t.Name == s.Name && t.Rate == s.Rate })
		if i < 0 {
			i = len(r.Steps)
			r.Steps = append(r.Steps, Step{Name: s.Name, Rate: s.Rate})
		}
		r.Steps[i].Add(s)
	}
}

func course(r *Run) time.Duration {
	if len(r.Windows) == 0 {
		return 0
	}
	last := len(r.Windows) - 1
	return r.Windows[last].Begin + r.Length(last)
}

func (g *Generator) add(o Generator) {
	g.Sent += o.Sent
	g.Late += o.Late
	g.Queued += o.Queued
	g.Dropped += o.Dropped
	g.CPU += o.CPU
	g.Spread = g.Spread || o.Spread
	g.Delay.Merge(o.Delay)
}

func (s *Server) add(o Server) {
	s.CPU += o.CPU
	s.Memory = max(s.Memory, o.Memory)
	s.Hits += o.Hits
	s.Lookups += o.Lookups
	s.Bypassed += o.Bypassed
	s.Metrics = s.Metrics || o.Metrics
	s.Batches += o.Batches
	s.BatchRows += o.BatchRows
	s.Queue += o.Queue
	s.Compute += o.Compute
	s.Checked += o.Checked
}

// remark keeps what the i-th run says of itself: a doubt about one is a doubt about all.
func (r *Run) remark(i int, o *Run) {
	for _, why := range o.Invalid {
		r.Invalid = append(r.Invalid, fmt.Sprintf("run %d: %s", i, why))
	}
	for outcome, cause := range o.Causes {
		if r.Causes == nil {
			r.Causes = map[Outcome]string{}
		}
		if r.Causes[outcome] == "" {
			r.Causes[outcome] = cause
		}
	}
	if o.Stopped != "" {
		if r.Stopped != "" {
			r.Stopped += "; "
		}
		r.Stopped += fmt.Sprintf("run %d: %s", i, o.Stopped)
	}
}
