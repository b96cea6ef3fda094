package report

import (
	"fmt"
	"time"

	"github.com/thrumserve/thrum/loadtest/result"
)

// maxCourse is how many points of the course of a run are kept: more would not be seen.
const maxCourse = 600

// build works out every figure. Text from outside is made harmless on the way, for every form.
func build(d Document) view {
	v := view{
		Format:     "thrum loadtest report",
		Version:    1,
		Title:      plain(d.Title),
		Verdict:    decide(d),
		Findings:   []Finding{},
		Series:     []seriesView{},
		Comparison: []comparison{},
	}
	if d.Goal != (Goal{}) {
		v.Goal = &goalView{Quantile: d.Goal.Quantile, LimitMS: ms(d.Goal.Limit)}
	}
	for _, f := range d.Findings {
		v.Findings = append(v.Findings, Finding{plain(f.Name), plain(f.Want), plain(f.Got), f.Held})
	}
	for i, s := range d.Series {
		v.Series = append(v.Series, buildSeries(s, d.Goal))
		if i > 0 {
			v.Comparison = append(v.Comparison, compare(d.Series[0], s)...)
		}
	}
	return v
}

// decide says the verdict in words: whatever was asked for, runs that cannot be believed come first.
func decide(d Document) verdictView {
	v := verdictView{Outcome: d.Verdict.Outcome, Reasons: []string{}}
	var stopped []string
	for _, s := range d.Series {
		for i, r := range s.Runs {
			for _, why := range r.Invalid {
				v.Outcome = Invalid
				v.Reasons = append(v.Reasons, fmt.Sprintf("%s: %s", runName(s, i), why))
			}
			if r.Stopped != "" {
				stopped = append(stopped, fmt.Sprintf("%s stopped early: %s", runName(s, i), r.Stopped))
			}
		}
	}
	v.Reasons = append(v.Reasons, d.Verdict.Reasons...)
	v.Reasons = append(v.Reasons, waits(d)...)
	v.Reasons = plainAll(append(v.Reasons, stopped...))
	return v
}

// mostRemarked is the most runs of a document whose waits are remarked: those of a search wait by design.
const mostRemarked = 3

// waits says of which runs requests waited for a connection.
func waits(d Document) (words []string) {
	runs := 0
	for _, s := range d.Series {
		runs += len(s.Runs)
		for i, r := range s.Runs {
			if n := r.Generator.Queued; n > 0 {
				words = append(words, fmt.Sprintf("%s: %s of %s requests waited over a millisecond for a free connection, of which there may be %d: latency from the intended start has that wait in it, that from the send has not; with more connections it would be the server's alone",
					runName(s, i), count(n), count(r.Generator.Sent), r.Asked.Connections))
			}
		}
	}
	if runs > mostRemarked {
		return nil
	}
	return words
}

func runName(s Series, i int) string {
	name := plain(s.Name)
	if name == "" {
		name = "run"
	}
	if len(s.Runs) == 1 {
		return name
	}
	return fmt.Sprintf("%s %d", name, i+1)
}

func buildSeries(s Series, goal Goal) seriesView {
	v := seriesView{Name: plain(s.Name), Runs: []runView{}}
	for i, r := range s.Runs {
		v.Runs = append(v.Runs, buildRun(runName(s, i), r, goal))
	}
	return v
}

func buildRun(name string, r *result.Run, goal Goal) runView {
	total := r.Total()
	v := runView{
		Name: name,
		Asked: askedView{
			Target: plain(r.Asked.Target), Model: plain(r.Asked.Model), Version: plain(r.Asked.Version), Body: plain(r.Asked.Body), Profile: plain(r.Asked.Profile),
			ClosedLoop: r.Asked.Closed, Seed: r.Asked.Seed, Connections: r.Asked.Connections, TimeoutMS: ms(r.Asked.Timeout),
			Inputs: plain(r.Asked.Inputs), Cache: plain(r.Asked.Cache), Headers: plain(r.Asked.Headers), WarmUpS: r.Asked.WarmUp.Seconds(),
		},
		Began:     r.Began,
		TookS:     r.Took.Seconds(),
		Invalid:   plainAll(r.Invalid),
		Stopped:   plain(r.Stopped),
		Causes:    []causeView{},
		Steps:     []stepView{},
		Total:     buildStep(total, goal),
		Course:    buildCourse(r),
		Generator: buildGenerator(r),
		Server:    buildServer(r.Server, total.Count(result.OK)),
		Stages:    buildStages(r, total),
	}
	for _, s := range r.Steps {
		v.Steps = append(v.Steps, buildStep(s, goal))
	}
	for _, o := range result.Outcomes {
		if text := r.Causes[o]; text != "" {
			v.Causes = append(v.Causes, causeView{o, plain(text)})
		}
	}
	answers := total.Intended(result.OK)
	if len(r.Steps) == 0 { // of a results file that was cut: the windows are all that there is
		answers = allWindows(r)
		v.Total = totalOfCourse(v.Course, answers)
	}
	v.Curve, v.CurveSent, v.Bars = buildCurve(answers), buildCurve(total.Sent(result.OK)), buildBars(answers)
	return v
}

func buildStep(s result.Step, goal Goal) stepView {
	v := stepView{
		Name:       plain(s.Name),
		DurationS:  s.Duration.Seconds(),
		Asked:      s.Rate,
		Achieved:   s.Achieved(),
		Rows:       s.Rows,
		ErrorShare: s.ErrorShare(),
		Intended:   buildLatency(s.Intended(result.OK)),
		Sent:       buildLatency(s.Sent(result.OK)),
		Outcomes:   map[result.Outcome]uint64{},
	}
	if goal.Limit > 0 {
		goodput := s.Goodput(goal.Limit)
		v.Goodput = &goodput
	}
	for _, o := range result.Outcomes {
		v.Outcomes[o] = s.Count(o)
	}
	return v
}

func buildLatency(h *result.Histogram) latencyView {
	q := h.Quantiles(0.5, 0.9, 0.99, 0.999, 1)
	return latencyView{MeanMS: ms(h.Mean()), P50MS: ms(q[0]), P90MS: ms(q[1]), P99MS: ms(q[2]), P999MS: ms(q[3]), MaxMS: ms(q[4])}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// buildCourse returns the windows, several as one where there are too many.
func buildCourse(r *result.Run) []courseView {
	course := []courseView{}
	each := max(1, (len(r.Windows)+maxCourse-1)/maxCourse)
	for from := 0; from < len(r.Windows); {
		to := min(from+each, len(r.Windows))
		if last := len(r.Windows) - 1; to == last && r.Length(last) < time.Second/2 {
			to++ // the few milliseconds of the last answers have no rate worth the name
		}
		course = append(course, buildPoint(r, from, to))
		from = to
	}
	return course
}

// buildPoint returns the windows from one to another as a point of the course.
func buildPoint(r *result.Run, from, to int) courseView {
	c := courseView{BeginS: r.Windows[from].Begin.Seconds(), Outcomes: map[result.Outcome]uint64{}}
	answers := (*result.Histogram)(nil).Clone()
	for i, w := range r.Windows[from:to] {
		c.LengthS += r.Length(from + i).Seconds()
		c.Offered += float64(w.Offered)
		for _, o := range result.Outcomes {
			c.Outcomes[o] += w.Outcomes[o]
		}
		answers.Merge(w.OK)
		c.Inflight = max(c.Inflight, w.Inflight)
	}
	if c.LengthS > 0 {
		c.Offered /= c.LengthS
		c.Achieved = float64(c.Outcomes[result.OK]) / c.LengthS
	}
	c.Latency = buildLatency(answers)
	return c
}

func allWindows(r *result.Run) *result.Histogram {
	all := (*result.Histogram)(nil).Clone()
	for _, w := range r.Windows {
		all.Merge(w.OK)
	}
	return all
}

func totalOfCourse(course []courseView, answers *result.Histogram) stepView {
	v := stepView{Name: "all", Intended: buildLatency(answers), Outcomes: map[result.Outcome]uint64{}}
	var total uint64
	for _, c := range course {
		v.DurationS += c.LengthS
		v.Asked += c.Offered * c.LengthS
		for o, n := range c.Outcomes {
			v.Outcomes[o] += n
			total += n
		}
	}
	if v.DurationS > 0 && total > 0 {
		v.Asked /= v.DurationS
		v.Achieved = float64(v.Outcomes[result.OK]) / v.DurationS
		v.ErrorShare = 1 - float64(v.Outcomes[result.OK])/float64(total)
	}
	return v
}

func buildCurve(h *result.Histogram) []pointView {
	points := []pointView{}
	for _, p := range h.Curve() {
		points = append(points, pointView{p.Quantile, ms(p.Value)})
	}
	return points
}

func buildBars(h *result.Histogram) []barView {
	bars := []barView{}
	for _, b := range h.Bars() {
		bars = append(bars, barView{ms(b.From), ms(b.To), b.Count})
	}
	return bars
}

func buildGenerator(r *result.Run) generatorView {
	g := r.Generator
	v := generatorView{Sent: g.Sent, Late: g.Late, Queued: g.Queued, LateShare: g.LateShare(), Dropped: g.Dropped, Delay: buildLatency(g.Delay), CPUS: g.CPU.Seconds(), Spread: g.Spread}
	if r.Took > 0 {
		v.CPUShare = g.CPU.Seconds() / r.Took.Seconds()
	}
	return v
}

func buildServer(s result.Server, answers uint64) serverView {
	v := serverView{CPUS: s.CPU.Seconds(), MemoryBytes: s.Memory, CacheHits: s.Hits, CacheLookups: s.Lookups, CacheBypassed: s.Bypassed, Metrics: s.Metrics, Batches: s.Batches, Checked: s.Checked}
	if s.CPU > 0 && answers > 0 {
		v.CPUPerRequestUS = new(float64(s.CPU.Microseconds()) / float64(answers))
	}
	if ratio, ok := s.HitRatio(); ok {
		v.CacheHitRatio = &ratio
	}
	if s.Batches > 0 {
		v.RowsPerBatch = new(float64(s.BatchRows) / float64(s.Batches))
	}
	return v
}

// buildStages spreads the mean latency of an answer over where it was spent; nil if the server says
// nothing of itself.
func buildStages(r *result.Run, total result.Step) *stagesView {
	n := float64(total.Count(result.OK))
	if n == 0 || r.Server.Queue+r.Server.Compute == 0 {
		return nil
	}
	all, sent := ms(total.Intended(result.OK).Mean()), ms(total.Sent(result.OK).Mean())
	v := &stagesView{GeneratorMS: max(0, all-sent), QueueMS: ms(r.Server.Queue) / n, ComputeMS: ms(r.Server.Compute) / n}
	v.RestMS = max(0, sent-v.QueueMS-v.ComputeMS)
	return v
}
