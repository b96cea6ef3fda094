package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/thrumserve/thrum/loadtest/result"
)

// Table writes the report as text for people, in lines that line up.
func Table(w io.Writer, d Document) error {
	t := &table{}
	v := build(d)
	t.verdict(v)
	for _, s := range v.Series {
		for _, r := range s.Runs {
			t.run(r, v.Goal)
		}
	}
	t.comparison(v)
	_, err := w.Write(t.out.Bytes())
	return err
}

type table struct{ out bytes.Buffer }

func (t *table) line(format string, args ...any) { fmt.Fprintf(&t.out, format+"\n", args...) }

// columns prints rows, the first of which is their head: words to the left, figures to the right.
func (t *table) columns(rows [][]string, right bool) {
	flags := uint(0)
	if right {
		flags = tabwriter.AlignRight
	}
	var lines bytes.Buffer
	w := tabwriter.NewWriter(&lines, 0, 0, 2, ' ', flags)
	for _, row := range rows {
		fmt.Fprintf(w, "%s\t\n", strings.Join(row, "\t"))
	}
	w.Flush() // to memory
	for line := range strings.Lines(lines.String()) {
		t.line("%s", strings.TrimRight(line, " \n"))
	}
}

func (t *table) verdict(v view) {
	word, meaning := verdictWord(v.Verdict)
	t.line("%s: %s", word, meaning)
	for _, why := range v.Verdict.Reasons {
		t.line("  %s", why)
	}
	if len(v.Findings) > 0 {
		rows := [][]string{{"", "check", "want", "got"}}
		for _, f := range v.Findings {
			rows = append(rows, []string{heldWord(f.Held), f.Name, f.Want, f.Got})
		}
		t.line("")
		t.columns(rows, false)
	}
}

func heldWord(held bool) string {
	if held {
		return "held"
	}
	return "MISSED"
}

func (t *table) run(r runView, goal *goalView) {
	t.line("\n%s: %s", r.Name, asked(r.Asked))
	steps := r.Steps
	if len(steps) != 1 {
		steps = append(steps[:len(steps):len(steps)], r.Total)
	}
	t.line("\nlatency of OK answers from the intended start, and rates")
	t.columns(stepRows(steps, goal), true)
	t.line("\nlatency of OK answers from the actual send")
	t.columns(sentRows(steps), true)
	t.line("\nwhat became of requests")
	t.columns(outcomeRows(steps), true)
	for _, c := range r.Causes {
		t.line("  the first that was %s: %s", c.Outcome, c.Text)
	}
	t.line("")
	t.health(r)
}

func stepRows(steps []stepView, goal *goalView) [][]string {
	head := []string{"step", "asked/s", "achieved/s", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms"}
	if goal != nil {
		head = append(head, "goodput/s")
	}
	rows := [][]string{head}
	for _, s := range steps {
		row := append([]string{s.Name, askedWord(s.Asked), perSecond(s.Achieved)}, latencyRow(s.Intended)...)
		if s.Goodput != nil {
			row = append(row, perSecond(*s.Goodput))
		} else if goal != nil {
			row = append(row, "-")
		}
		rows = append(rows, row)
	}
	return rows
}

func sentRows(steps []stepView) [][]string {
	rows := [][]string{{"step", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms"}}
	for _, s := range steps {
		rows = append(rows, append([]string{s.Name}, latencyRow(s.Sent)...))
	}
	return rows
}

func latencyRow(l latencyView) []string {
	return []string{millis(l.P50MS), millis(l.P90MS), millis(l.P99MS), millis(l.P999MS), millis(l.MaxMS)}
}

func outcomeRows(steps []stepView) [][]string {
	head := []string{"step", "requests"}
	for _, o := range result.Outcomes {
		head = append(head, string(o))
	}
	rows := [][]string{append(head, "not ok")}
	for _, s := range steps {
		var total uint64
		var row []string
		for _, o := range result.Outcomes {
			total += s.Outcomes[o]
			row = append(row, count(s.Outcomes[o]))
		}
		rows = append(rows, append(append([]string{s.Name, count(total)}, row...), percent(s.ErrorShare)))
	}
	return rows
}

// health prints what generator and server say of themselves.
func (t *table) health(r runView) {
	g, s := r.Generator, r.Server
	rows := [][]string{{"generator", fmt.Sprintf("sent %s, late %s (%s), waited for a connection %s, dropped %s, delay p99 %s ms, CPU %.1f s (%s of a core)%s",
		count(g.Sent), count(g.Late), percent(g.LateShare), count(g.Queued), count(g.Dropped), millis(g.Delay.P99MS), g.CPUS, percent(g.CPUShare), spreadWords(g))}}
	rows = append(rows, []string{"cache hits", cacheWords(s)})
	rows = append(rows, []string{"server", serverWords(s)})
	if st := r.Stages; st != nil {
		rows = append(rows, []string{"mean answer", fmt.Sprintf("generator %s ms, queue %s ms, compute %s ms, rest %s ms",
			millis(st.GeneratorMS), millis(st.QueueMS), millis(st.ComputeMS), millis(st.RestMS))})
	}
	rows = append(rows, []string{"answers", fmt.Sprintf("%s compared with the offline answer", count(s.Checked))})
	t.columns(rows, false)
}

func serverWords(s serverView) string {
	if s.CPUS == 0 && s.MemoryBytes == 0 && s.Batches == 0 {
		return "says nothing of itself"
	}
	words := []string{fmt.Sprintf("CPU %.1f s", s.CPUS)}
	if s.CPUPerRequestUS != nil {
		words[0] += fmt.Sprintf(" (%.1f us a request)", *s.CPUPerRequestUS)
	}
	words = append(words, "memory "+mebibytes(s.MemoryBytes))
	if s.RowsPerBatch != nil {
		words = append(words, fmt.Sprintf("%s batches of %.1f rows on average", count(s.Batches), *s.RowsPerBatch))
	}
	return strings.Join(words, ", ")
}

func (t *table) comparison(v view) {
	if apart(v) {
		t.line("\n%s", apartWords)
	}
	if len(v.Comparison) == 0 {
		return
	}
	t.line("\ncomparison")
	rows := [][]string{{"with", "step", "figure", "there", "here", "change", "95 %"}}
	for _, c := range v.Comparison {
		words := figureWords[c.Figure]
		rows = append(rows, []string{c.Series, stepWord(c.Step), words.name, words.print(c.Other), words.print(c.This), changed(c.ChangePercent), between(c.LowPercent, c.HighPercent)})
	}
	t.columns(rows, true)
	t.line("%s", betweenWords)
}

func stepWord(step string) string {
	if step == "" {
		return "all"
	}
	return step
}
