package report

import (
	"slices"

	"github.com/thrumserve/thrum/loadtest/result"
	"github.com/thrumserve/thrum/loadtest/stats"
)

// figure is what two series are compared by.
type figure struct {
	name string
	of   func(result.Step) float64
}

func quantile(q float64) func(result.Step) float64 {
	return func(s result.Step) float64 { return ms(s.Intended(result.OK).Quantile(q)) }
}

var figures = []figure{
	{"p50_ms", quantile(0.5)},
	{"p90_ms", quantile(0.9)},
	{"p99_ms", quantile(0.99)},
	{"p999_ms", quantile(0.999)},
	{"achieved_per_s", result.Step.Achieved},
	{"error_share", result.Step.ErrorShare},
}

// compare compares series step by step, each with the runs of a series counted together, and as a
// whole. Only runs under the same load are compared.
func compare(this, other Series) []comparison {
	var all []comparison
	this.Runs, other.Runs = alike(this.Runs, other.Runs), alike(other.Runs, this.Runs)
	these, others := pool(this.Runs), pool(other.Runs)
	for _, s := range these {
		i := slices.IndexFunc(others, func(o result.Step) bool { return o.Name == s.Name })
		if i < 0 {
			continue
		}
		for _, f := range figures {
			c := change(comparison{Series: plain(other.Name), Step: plain(s.Name), Figure: f.name, Other: f.of(others[i]), This: f.of(s)})
			all = append(all, c.between(each(other.Runs, f.inStep(s.Name)), each(this.Runs, f.inStep(s.Name))))
		}
	}
	for _, f := range wholeFigures {
		o, oOK := f.of(other.Runs)
		t, tOK := f.of(this.Runs)
		if oOK && tOK {
			c := change(comparison{Series: plain(other.Name), Figure: f.name, Other: o, This: t})
			one := func(r *result.Run) (float64, bool) { return f.of([]*result.Run{r}) }
			all = append(all, c.between(each(other.Runs, one), each(this.Runs, one)))
		}
	}
	return all
}

// inStep is the figure of a run's step of a name.
func (f figure) inStep(name string) func(*result.Run) (float64, bool) {
	return func(r *result.Run) (float64, bool) {
		i := slices.IndexFunc(r.Steps, func(s result.Step) bool { return s.Name == name })
		if i < 0 {
			return 0, false
		}
		return f.of(r.Steps[i]), true
	}
}

// each is a figure of each run that has it.
func each(runs []*result.Run, of func(*result.Run) (float64, bool)) (values []float64) {
	for _, r := range runs {
		if v, ok := of(r); ok {
			values = append(values, v)
		}
	}
	return values
}

// between adds the interval of the shift from the runs there to those here, if they are enough.
func (c comparison) between(there, here []float64) comparison {
	if i, ok := stats.Shift(there, here); ok {
		c.LowPercent, c.HighPercent = new(100*i.Low), new(100*i.High)
	}
	return c
}

// alike returns those of runs that have their like among others.
func alike(runs, others []*result.Run) []*result.Run {
	var some []*result.Run
	for _, r := range runs {
		if slices.ContainsFunc(others, func(o *result.Run) bool {
			return o.Asked.Profile == r.Asked.Profile && o.Asked.Closed == r.Asked.Closed
		}) {
			some = append(some, r)
		}
	}
	return some
}

// apart says whether there are series that have nothing in common.
func apart(v view) bool { return len(v.Series) > 1 && len(v.Comparison) == 0 }

const apartWords = "Nothing is compared: the other runs were under another load."

func change(c comparison) comparison {
	if c.Other != 0 {
		c.ChangePercent = new(100 * (c.This - c.Other) / c.Other)
	}
	return c
}

// pool counts steps of the same name together.
func pool(runs []*result.Run) []result.Step {
	var steps []result.Step
	for _, r := range runs {
		for _, s := range r.Steps {
			i := slices.IndexFunc(steps, func(t result.Step) bool { return t.Name == s.Name })
			if i < 0 {
				i = len(steps)
				steps = append(steps, result.Step{Name: s.Name, Rate: s.Rate})
			}
			steps[i].Add(s)
		}
	}
	return steps
}

// wholeFigures are those of runs as a whole; false where servers say nothing of it.
var wholeFigures = []struct {
	name string
	of   func([]*result.Run) (float64, bool)
}{
	{"cpu_per_request_us", func(runs []*result.Run) (float64, bool) {
		var cpu float64
		var n uint64
		for _, r := range runs {
			cpu += float64(r.Server.CPU.Microseconds())
			n += r.Total().Count(result.OK)
		}
		return cpu / float64(max(1, n)), cpu > 0 && n > 0
	}},
	{"memory_bytes", func(runs []*result.Run) (float64, bool) {
		var most uint64
		for _, r := range runs {
			most = max(most, r.Server.Memory)
		}
		return float64(most), most > 0
	}},
	{"cache_hit_ratio", func(runs []*result.Run) (float64, bool) {
		var s result.Server
		for _, r := range runs {
			s.Hits += r.Server.Hits
			s.Lookups += r.Server.Lookups
		}
		return s.HitRatio()
	}},
}
