package main

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// report is a run of the comparison.
type report struct {
	Began      time.Time         `json:"began"`
	Machine    string            `json:"machine"`
	Pinned     []int             `json:"server_processors,omitempty"`
	LoadBefore string            `json:"load_before"`
	LoadAfter  string            `json:"load_after"`
	Goal       string            `json:"goal"`
	Rate       float64           `json:"fixed_rate"`
	Rounds     int               `json:"rounds"`
	Missing    map[string]string `json:"missing"` // systems that did not start or answered wrongly, and why
	Cases      []*caseReport     `json:"cases"`
	Witnesses  []testimony       `json:"witnesses,omitempty"`
}

func newReport(o options) *report {
	return &report{Began: time.Now().UTC(), Machine: machine(), Pinned: o.serverCPUs, LoadBefore: machineLoad(), Goal: goal.String(),
		Rate: o.rate, Rounds: o.rounds, Missing: map[string]string{}}
}

// caseReport is a model with a body.
type caseReport struct {
	Model   string `json:"model"`
	Body    string `json:"body"`
	Systems []*row `json:"systems"`
	Best    string `json:"best_peer,omitempty"` // by its rate
	Lean    string `json:"leanest_peer,omitempty"`

	Rate float64 `json:"rate_ratio,omitempty"` // thrum's peak over the best peer's
	CPU  float64 `json:"cpu_ratio,omitempty"`  // thrum's CPU for a request over the leanest peer's, at the fixed rate
}

// row is a system in a case.
type row struct {
	Name   string        `json:"system"`
	Ready  time.Duration `json:"start_ns"`
	Idle   float64       `json:"idle_cores"`
	Memory int64         `json:"memory_bytes"` // after the load
	Rounds []figures     `json:"rounds"`
	Error  string        `json:"error,omitempty"` // of the last round, if it could not be measured
}

func newCase(model, body string) *caseReport { return &caseReport{Model: model, Body: body} }

func (c *caseReport) row(name string) *row {
	for _, r := range c.Systems {
		if r.Name == name {
			return r
		}
	}
	r := &row{Name: name}
	c.Systems = append(c.Systems, r)
	return r
}

// round measures a system once, if it takes the body. What a system cannot do is its result, not an error.
func (c *caseReport) round(ctx context.Context, o options, run *process, m model) error {
	d, ok := run.dialectOf(c.Body)
	if !ok {
		return nil
	}
	r := c.row(run.name)
	l := load{options: o, run: run, model: m, dialect: d}
	if n := len(r.Rounds); n > 0 {
		l.began = 0.8 * r.Rounds[n-1].Peak // 0 for none: as in the first
	}
	f, err := l.measure(ctx)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		r.Error = firstLine(err)
	default:
		r.Rounds, r.Error = append(r.Rounds, f), ""
	}
	progress("%s/%s %s: %.0f/s at %v, p99 %v and CPU %v a request at %.0f/s %s", c.Model, c.Body, run.name, f.Peak, goal,
		f.P99.Round(time.Microsecond), f.CPU.Round(time.Microsecond), o.rate, r.Error)
	return nil
}

// hold notes what is known of a system beside its rounds.
func (c *caseReport) hold(run *process, idle float64) {
	if _, ok := run.dialectOf(c.Body); ok {
		r := c.row(run.name)
		r.Ready, r.Idle, r.Memory = run.ready, idle, run.memory()
	}
	c.decide()
}

// decide names the best peers and takes the ratios.
func (c *caseReport) decide() {
	ours := c.row("thrum")
	peak := func(f figures) float64 { return f.Peak }
	cpu := func(f figures) float64 { return float64(f.CPU) }
	c.Best, c.Lean, c.Rate, c.CPU = "", "", 0, 0
	var best, lean *row
	for _, r := range c.Systems {
		if r.Name == "thrum" || r.Name == "floor" || len(r.Rounds) == 0 {
			continue
		}
		if best == nil || r.median(peak) > best.median(peak) {
			best = r
		}
		if lean == nil || r.median(cpu) < lean.median(cpu) {
			lean = r
		}
	}
	if best == nil || len(ours.Rounds) == 0 {
		return
	}
	c.Best, c.Rate = best.Name, ratio(ours, best, peak)
	c.Lean, c.CPU = lean.Name, ratio(ours, lean, cpu)
}

func (r *row) median(of func(figures) float64) float64 {
	if len(r.Rounds) == 0 {
		return 0
	}
	values := make([]float64, len(r.Rounds))
	for i, f := range r.Rounds {
		values[i] = of(f)
	}
	return middle(values)
}

// ratio is the median over the rounds that both have.
func ratio(a, b *row, of func(figures) float64) float64 {
	var values []float64
	for i := range min(len(a.Rounds), len(b.Rounds)) {
		if base := of(b.Rounds[i]); base > 0 {
			values = append(values, of(a.Rounds[i])/base)
		}
	}
	return middle(values)
}

func middle(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}

// The medians, as the table and the page show them.
func (r *row) Peak() float64 { return r.median(func(f figures) float64 { return f.Peak }) }

// PeakCPU is in microseconds, like CPU.
func (r *row) PeakCPU() float64 {
	return r.median(func(f figures) float64 { return f.PeakCPU.Seconds() * 1e6 })
}

// CPU is at the fixed rate.
func (r *row) CPU() float64 {
	return r.median(func(f figures) float64 { return f.CPU.Seconds() * 1e6 })
}

// P50 is in milliseconds, like P99.
func (r *row) P50() float64 {
	return r.median(func(f figures) float64 { return f.P50.Seconds() * 1e3 })
}

// P99 is at the fixed rate.
func (r *row) P99() float64 {
	return r.median(func(f figures) float64 { return f.P99.Seconds() * 1e3 })
}

// Generator is the cores that the generator took at the peak.
func (r *row) Generator() float64 { return r.median(func(f figures) float64 { return f.Generator }) }

// Megabytes is the memory.
func (r *row) Megabytes() float64 { return float64(r.Memory) / (1 << 20) }

// Start is in seconds.
func (r *row) Start() float64 { return r.Ready.Seconds() }

// Notes are what to know before the figures are believed.
func (r *row) Notes() string {
	notes := r.Error
	for _, f := range r.Rounds {
		switch {
		case f.Limited != "":
			notes = cmp.Or(notes, f.Limited)
		case f.Failed > 0:
			notes = cmp.Or(notes, fmt.Sprintf("%.2g %% of answers failed at the fixed rate", 100*f.Failed))
		case len(f.Invalid) > 0:
			notes = cmp.Or(notes, f.Invalid[0])
		}
	}
	return notes
}

// Ranked are the systems by their rate, the best first.
func (c *caseReport) Ranked() []*row {
	all := slices.Clone(c.Systems)
	slices.SortStableFunc(all, func(a, b *row) int { return cmp.Compare(b.Peak(), a.Peak()) })
	return all
}

// Share is a rate as a share of the highest of the case, in percent.
func (c *caseReport) Share(r *row) float64 { return 100 * r.Peak() / max(1, c.Ranked()[0].Peak()) }

func (r *report) print(w io.Writer) error {
	fmt.Fprintf(w, "%s; servers on processors %v, load %s before and %s after; %d rounds in turns\n\n", r.Machine, r.Pinned, r.LoadBefore, r.LoadAfter, r.Rounds)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "case\tsystem\treq/s at %s\tCPU µs/req there\tp50 ms at %.0f/s\tp99 ms\tCPU µs/req\tMiB\tstart s\tidle cores\tgenerator cores\t\n", r.Goal, r.Rate)
	for _, c := range r.Cases {
		for _, s := range c.Ranked() {
			fmt.Fprintf(t, "%s/%s\t%s\t%.0f\t%.0f\t%.2f\t%.2f\t%.0f\t%.0f\t%.1f\t%.3f\t%.2f\t\n", c.Model, c.Body, s.Name,
				s.Peak(), s.PeakCPU(), s.P50(), s.P99(), s.CPU(), s.Megabytes(), s.Start(), s.Idle, s.Generator())
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, c := range r.Cases {
		if c.Best != "" {
			fmt.Fprintf(w, "\n%s/%s: thrum has %.2f times the rate of %s and takes %.2f of the CPU of %s", c.Model, c.Body, c.Rate, c.Best, c.CPU, c.Lean)
		}
		for _, s := range c.Systems {
			if notes := s.Notes(); notes != "" {
				fmt.Fprintf(w, "\n%s/%s %s: %s", c.Model, c.Body, s.Name, notes)
			}
		}
	}
	for _, t := range r.Witnesses {
		fmt.Fprintf(w, "\nnull/binary thrum, %s: perf_analyzer %.0f/s, p50 %v, p99 %v, its own CPU %v a request; the own generator %.0f/s, p50 %v, p99 %v, %v from the actual send",
			t.Load, t.Theirs.Rate, t.Theirs.P50, t.Theirs.P99, t.Theirs.CPU(), t.Ours.Rate, t.Ours.P50, t.Ours.P99, t.Ours.CPU())
	}
	for name, why := range r.Missing {
		fmt.Fprintf(w, "\n%s is left out: %s", name, why)
	}
	_, err := fmt.Fprintln(w)
	return err
}

//go:embed page.html
var page string

// write makes results.json and index.html.
func (r *report) write(folder string) error {
	shape, err := template.New("page").Parse(page)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	for name, fill := range map[string]func(io.Writer) error{
		"results.json": func(w io.Writer) error { _, err := w.Write(text); return err },
		"index.html":   func(w io.Writer) error { return shape.Execute(w, r) },
	} {
		f, err := create(folder, name)
		if err != nil {
			return err
		}
		if err := errors.Join(fill(f), f.Close()); err != nil {
			return err
		}
		progress("wrote %s", f.Name())
	}
	return nil
}
