package stage

import (
	"fmt"
	"time"

	"github.com/thrumserve/thrum/loadtest/report"
	"github.com/thrumserve/thrum/loadtest/result"
	"github.com/thrumserve/thrum/loadtest/scenario"
	"github.com/thrumserve/thrum/loadtest/stats"
)

// gate collects what was found.
type gate struct {
	verdict  scenario.Verdict
	broken   []string // what kept the plan from its end
	findings []report.Finding
}

// find adds a finding, and its verdict to that of all.
func (g *gate) find(v scenario.Verdict, name, want, got string) {
	g.verdict = scenario.Worst(g.verdict, v)
	g.findings = append(g.findings, report.Finding{Name: name, Want: want, Got: got, Held: v == scenario.Pass})
}

// reasons say the verdict in words, with the errors that kept the plan from its end.
func (g *gate) reasons() []string {
	missed := 0
	for _, f := range g.findings {
		if !f.Held {
			missed++
		}
	}
	said := []string{fmt.Sprintf("%d of %d checks are held", len(g.findings)-missed, len(g.findings))}
	return append(said, g.broken...)
}

// whether is Pass if held and else Fail.
func whether(held bool) scenario.Verdict {
	if held {
		return scenario.Pass
	}
	return scenario.Fail
}

// verdictOf makes a verdict of what measurements say of something that is feared.
func verdictOf(v stats.Verdict) scenario.Verdict {
	switch v {
	case stats.Same:
		return scenario.Pass
	case stats.Changed:
		return scenario.Fail
	default:
		return scenario.Unstable
	}
}

// load holds a run at up to the whole forecast against the goals.
func (g *gate) load(name string, r *result.Run, goals Goals) {
	if len(r.Invalid) > 0 {
		g.find(scenario.Invalid, name, "a run that can be believed", r.Invalid[0])
		return
	}
	if r.Stopped != "" {
		g.find(scenario.Invalid, name, "a run to its end", "stopped: "+r.Stopped)
		return
	}
	all := r.Total()
	if l := goals.Latency; l.Limit > 0 {
		got := all.Intended(result.OK).Quantile(l.Percentile).Round(10 * time.Microsecond).String()
		held := l.Held(all)
		if held != stats.Same {
			got += "; " + l.Explain(all)
		}
		g.find(verdictOf(held), fmt.Sprintf("%s at %s", l.Name(), name), fmt.Sprintf("<= %v", l.Limit), got)
		if goals.Goodput > 0 {
			// Of what was sent, for the number of starts is by chance.
			over, total := l.Over(all)
			part := Share(float64(total-over) / float64(max(total, 1)))
			g.find(whether(part >= goals.Goodput), "goodput at "+name, fmt.Sprintf(">= %v of what is offered", goals.Goodput), part.String())
		}
	}
	if goals.Errors != nil {
		part := Share(all.ErrorShare())
		g.find(whether(part <= *goals.Errors), "errors at "+name, fmt.Sprintf("<= %v", *goals.Errors), part.String())
	}
	g.answers(name, all, r.Server, goals)
}

// answers holds what is answered against the offline answers, and where from against the hit ratio.
func (g *gate) answers(name string, all result.Step, s result.Server, goals Goals) {
	if goals.Answers > 0 {
		wrong := all.Count(result.Wrong)
		got := fmt.Sprintf("%d of %d differ", wrong, s.Checked)
		switch {
		case s.Checked == 0:
			g.find(scenario.Unstable, "answers at "+name, "none differs from the offline answer", "none was compared: inputs without answers, or too few requests")
		default:
			g.find(whether(wrong == 0), "answers at "+name, "none differs from the offline answer", got)
		}
	}
	if goals.HitRatio > 0 {
		ratio, known := s.HitRatio()
		if !known {
			g.find(scenario.Unstable, "hit ratio at "+name, fmt.Sprintf(">= %v", goals.HitRatio), "the server does not say")
			return
		}
		g.find(whether(ratio >= float64(goals.HitRatio)), "hit ratio at "+name, fmt.Sprintf(">= %v", goals.HitRatio), Share(ratio).String())
	}
}

// overload holds a run above the forecast to less: what the server cannot answer in time it has to
// turn away, and what it answers has to be right.
func (g *gate) overload(name string, r *result.Run) {
	all := r.Total()
	const want = "no lost connections, no faults, no wrong answers, none given up, no pile of requests"
	switch bad := all.Count(result.Broken) + all.Count(result.Failed) + all.Count(result.Wrong) + all.Count(result.Late); {
	case r.Generator.Dropped > 0:
		g.find(scenario.Fail, "overload at "+name, want, fmt.Sprintf("requests piled up until %d could not be sent: the server does not turn away what it cannot answer in time", r.Generator.Dropped))
	case len(r.Invalid) > 0:
		g.find(scenario.Invalid, "overload at "+name, want, r.Invalid[0])
	default:
		g.find(whether(bad == 0), "overload at "+name, want, fmt.Sprintf("%d of %d; %.4g/s of %.4g/s answered", bad, all.Total(), all.Achieved(), all.Rate))
	}
}

// recovery holds the time after a spike against its limit.
func (g *gate) recovery(name string, r *result.Run, end, within time.Duration, goal scenario.Goal) {
	want := fmt.Sprintf("%v again within %v", goal, within)
	after, ok := scenario.Recovery(r, end, goal)
	if !ok {
		g.find(scenario.Fail, name, want, "not any more in this run")
		return
	}
	g.find(whether(after <= within), name, want, fmt.Sprintf("after %v", max(after, 0)))
}

// growth holds what a soak has found.
func (g *gate) growth(growths []scenario.Growth) {
	if len(growths) == 0 {
		g.find(scenario.Unstable, "soak", "nothing grows", "the server says nothing of its memory")
	}
	for _, w := range growths {
		g.find(verdictOf(w.Verdict), "soak: "+w.Name, "does not grow", w.String())
	}
}

// memory holds the most that was seen against the limit.
func (g *gate) memory(most uint64, goals Goals) {
	if goals.Memory == 0 {
		return
	}
	if most == 0 {
		g.find(scenario.Unstable, "memory", fmt.Sprintf("<= %v", goals.Memory), "the server does not say")
		return
	}
	g.find(whether(Bytes(most) <= goals.Memory), "memory", fmt.Sprintf("<= %v", goals.Memory), Bytes(most).String())
}

// Compared is a build beside its baseline, by a figure of each run.
type Compared struct {
	Figure string
	Floor  float64 // the smallest change that matters; negative where less is worse
	stats.Comparison
}

// Judge compares runs of a baseline and a candidate by the goal's percentile and by goodput.
func Judge(baseline, candidate []*result.Run, goal scenario.Goal, c Compare) []Compared {
	latency := func(r *result.Run) float64 {
		return float64(r.Total().Intended(result.OK).Quantile(goal.Percentile)) / 1e6
	}
	goodput := func(r *result.Run) float64 { return r.Total().Goodput(goal.Limit) }
	looks := len(c.looks())
	return []Compared{
		{goal.Name() + " ms", float64(c.Latency), stats.Compare(each(baseline, latency), each(candidate, latency), float64(c.Latency), looks)},
		{"goodput /s", -float64(c.Throughput), stats.Compare(each(baseline, goodput), each(candidate, goodput), -float64(c.Throughput), looks)},
	}
}

func each(runs []*result.Run, of func(*result.Run) float64) []float64 {
	values := make([]float64, len(runs))
	for i, r := range runs {
		values[i] = of(r)
	}
	return values
}

// mostMore is how much larger a share of its requests a candidate may fail than its baseline.
const mostMore = 0.001

// failures holds what a candidate does not answer, or not rightly, against its baseline.
func (g *gate) failures(baseline, candidate []*result.Run) {
	before, after := together(baseline), together(candidate)
	g.find(whether(after.ErrorShare() <= before.ErrorShare()+mostMore), "errors beside the baseline",
		fmt.Sprintf("<= %v, its %v and %v more", Share(before.ErrorShare()+mostMore), Share(before.ErrorShare()), Share(mostMore)), Share(after.ErrorShare()).String())
	if wrong := after.Count(result.Wrong); wrong > 0 {
		g.find(scenario.Fail, "answers beside the baseline", "none differs from the offline answer", fmt.Sprintf("%d differ", wrong))
	}
}

func together(runs []*result.Run) result.Step {
	var all result.Step
	for _, r := range runs {
		all.Add(r.Total())
	}
	return all
}

// compared holds a candidate against its baseline, at one of so many looks.
func (g *gate) compared(all []Compared, looks int) {
	confidence := fmt.Sprintf("%.3g %%", 100*(1-stats.Alpha))
	if looks > 1 {
		confidence += fmt.Sprintf(" over %d looks", looks)
	}
	for _, c := range all {
		want := fmt.Sprintf("no change by %+.3g %%", c.Floor*100)
		got := fmt.Sprintf("%+.2f %% (%s: %+.2f to %+.2f %%), from %.4g to %.4g, P = %.2g (at most %.2g counts); a change of %.2g %% would be found",
			c.Change.Estimate*100, confidence, c.Change.Low*100, c.Change.High*100, c.Baseline, c.Candidate, c.P, c.Level, c.Detectable*100)
		if c.Verdict == stats.CannotTell {
			got += ": cannot tell"
		}
		g.find(verdictOf(c.Verdict), c.Figure+" beside the baseline", want, got)
	}
}
