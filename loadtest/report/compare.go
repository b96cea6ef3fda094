package report

import (
	"slices"

	"github.com/thrumserve/thrum/loadtest/result"
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
			all = append(all, change(comparison{Series: plain(other.Name), Step: plain(s.Name), Figure: f.name, Other: f.of(others[i]), This: f.of(s)}))
		}
	}
	for _, f := range wholeFigures {
		o, oOK := f.of(other.Runs)
		t, tOK := f.of(this.Runs)
		if oOK && tOK {
			all = append(all, change(comparison{Series: plain(other.Name), Figure: f.name, Other: o, This: t}))
		}
	}
	return all
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
