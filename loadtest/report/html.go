package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strconv"

	"github.com/thrumserve/thrum/loadtest/result"
)

// The plots are uPlot's, fetched by uplot/fetch.sh and kept as they are.
//
//go:generate sh uplot/fetch.sh
var (
	//go:embed page.html
	pageText string
	//go:embed page.css
	pageStyle string
	//go:embed page.js
	pageScript string
	//go:embed uplot/uPlot.iife.min.js
	plotScript string
	//go:embed uplot/uPlot.min.css
	plotStyle string
	//go:embed uplot/LICENSE
	plotLicence string
)

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"millis": millis, "rate": perSecond, "asked": askedWord, "percent": percent, "count": count, "held": heldWord,
	"interval": func() string { return betweenWords },
}).Parse(pageText))

// HTML writes the report as one file that needs nothing else: neither a network nor another file.
func HTML(w io.Writer, d Document) error {
	return page.Execute(w, layOut(build(d)))
}

// layout is what the page prints.
type layout struct {
	Title          string
	Began          []string
	Word, Meaning  string
	Goal           *goalWords
	View           view
	Runs           []runRows
	Several        bool
	Heads          bool // whether the rows of a run are headed by its name, or named by it
	Outcomes       []result.Outcome
	OutcomeColumns int
	Comparisons    []comparisonRow
	This           string
	Apart          string // why nothing is compared
	Stages         []stageBar
	Facts          []fact

	PlotScript, Script template.JS
	PlotStyle, Style   template.CSS
	PlotLicence        string
}

type goalWords struct{ P, Limit string }

type runRows struct {
	Name   string
	Asked  askedView
	Rows   []stepRow
	Causes []causeView
}

type stepRow struct {
	stepView
	Sum      bool
	Requests uint64
	Counts   []outcomeCount
}

type outcomeCount struct {
	N   uint64
	Bad bool
}

type comparisonRow struct{ Step, Figure, Other, There, Here, Change, Between string }

type stageBar struct {
	Name, MS string
	Parts    []stagePart
}

type stagePart struct {
	Name, Class, MS string
	Percent         float64
}

// fact is a line of the table that has a column for each run.
type fact struct {
	Name   string
	Values []string
	Same   bool // of all runs
}

func layOut(v view) layout {
	word, meaning := verdictWord(v.Verdict)
	l := layout{
		Title: v.Title, Word: word, Meaning: meaning, View: v,
		Outcomes: result.Outcomes, OutcomeColumns: len(result.Outcomes) + 4,
		PlotScript: template.JS(plotScript), Script: template.JS(pageScript),
		PlotStyle: template.CSS(plotStyle), Style: template.CSS(pageStyle), PlotLicence: plotLicence,
	}
	if v.Goal != nil {
		l.Goal = &goalWords{P: strconv.FormatFloat(100*v.Goal.Quantile, 'g', 6, 64), Limit: millis(v.Goal.LimitMS)}
	}
	runs := allRuns(v)
	l.Several = len(runs) > 1
	l.Heads = l.Several && slices.ContainsFunc(runs, func(r runView) bool { return len(r.Steps) != 1 })
	for _, r := range runs {
		rows := layOutRun(r)
		if l.Several && !l.Heads {
			rows.Rows[0].Name = r.Name + ": " + rows.Rows[0].Name
		}
		l.Runs = append(l.Runs, rows)
		if r.Stages != nil {
			l.Stages = append(l.Stages, layOutStages(r))
		}
	}
	if apart(v) {
		l.Apart = apartWords
	}
	l.Began = began(runs)
	l.Facts = facts(runs)
	for _, c := range v.Comparison {
		words := figureWords[c.Figure]
		l.This = v.Series[0].Name
		l.Comparisons = append(l.Comparisons, comparisonRow{stepWord(c.Step), words.name, c.Series, words.print(c.Other), words.print(c.This), changed(c.ChangePercent), between(c.LowPercent, c.HighPercent)})
	}
	return l
}

func allRuns(v view) []runView {
	var runs []runView
	for _, s := range v.Series {
		runs = append(runs, s.Runs...)
	}
	return runs
}

// began says what was tested and when. The loads of several runs are in the tables.
func began(runs []runView) []string {
	if len(runs) == 0 {
		return nil
	}
	first := runs[0]
	what := asked(first.Asked)
	if len(runs) > 1 {
		what = fmt.Sprintf("%s at %s, %d runs", modelWords(first.Asked), first.Asked.Target, len(runs))
	}
	return []string{what, "Began " + first.Began.UTC().Format("2006-01-02 15:04:05 UTC")}
}

func layOutRun(r runView) runRows {
	rows := runRows{Name: r.Name, Asked: r.Asked, Causes: r.Causes}
	for _, s := range r.Steps {
		rows.Rows = append(rows.Rows, layOutStep(s, false))
	}
	if len(r.Steps) != 1 {
		rows.Rows = append(rows.Rows, layOutStep(r.Total, true))
	}
	return rows
}

func layOutStep(s stepView, sum bool) stepRow {
	row := stepRow{stepView: s, Sum: sum}
	for _, o := range result.Outcomes {
		row.Requests += s.Outcomes[o]
		row.Counts = append(row.Counts, outcomeCount{s.Outcomes[o], o != result.OK && s.Outcomes[o] > 0})
	}
	return row
}

func layOutStages(r runView) stageBar {
	s := r.Stages
	parts := []stagePart{
		{Name: "wait in the generator", Class: "stage-generator", Percent: s.GeneratorMS},
		{Name: "queue", Class: "stage-queue", Percent: s.QueueMS},
		{Name: "compute", Class: "stage-compute", Percent: s.ComputeMS},
		{Name: "rest", Class: "stage-rest", Percent: s.RestMS},
	}
	whole := s.GeneratorMS + s.QueueMS + s.ComputeMS + s.RestMS
	for i, p := range parts {
		parts[i].MS = millis(p.Percent)
		parts[i].Percent = 100 * p.Percent / whole
	}
	return stageBar{Name: r.Name, MS: millis(whole), Parts: parts}
}

func facts(runs []runView) []fact {
	var all []fact
	add := func(name string, of func(runView) string) {
		f := fact{Name: name}
		for _, r := range runs {
			f.Values = append(f.Values, of(r))
		}
		f.Same = len(slices.Compact(slices.Clone(f.Values))) == 1
		all = append(all, f)
	}
	add("model", func(r runView) string { return modelWords(r.Asked) })
	add("target", func(r runView) string { return r.Asked.Target })
	add("load", func(r runView) string { return r.Asked.Profile + loop(r.Asked) })
	if slices.ContainsFunc(runs, func(r runView) bool { return r.Asked.WarmUpS > 0 }) {
		add("warm-up", func(r runView) string { return warmUpWords(r.Asked) })
	}
	add("seed", func(r runView) string { return fmt.Sprint(r.Asked.Seed) })
	add("took", func(r runView) string { return fmt.Sprintf("%.1f s", r.TookS) })
	add("body, connections", func(r runView) string { return fmt.Sprintf("%s, at most %d", r.Asked.Body, r.Asked.Connections) })
	add("inputs", func(r runView) string { return r.Asked.Inputs })
	add("cache", func(r runView) string { return r.Asked.Cache })
	if slices.ContainsFunc(runs, func(r runView) bool { return r.Asked.Headers != "" }) {
		add("headers", func(r runView) string { return r.Asked.Headers })
	}
	add("cache hit ratio", func(r runView) string { return cacheWords(r.Server) })
	add("generator sent", func(r runView) string { return count(r.Generator.Sent) })
	add("sent late", func(r runView) string {
		return fmt.Sprintf("%s (%s)", count(r.Generator.Late), percent(r.Generator.LateShare))
	})
	add("waited for a connection", func(r runView) string { return count(r.Generator.Queued) })
	add("never sent", func(r runView) string { return count(r.Generator.Dropped) })
	add("delay of sends, p99 and max", func(r runView) string {
		return fmt.Sprintf("%s ms, %s ms", millis(r.Generator.Delay.P99MS), millis(r.Generator.Delay.MaxMS))
	})
	add("generator CPU", func(r runView) string {
		return fmt.Sprintf("%.1f s (%s of a core)%s", r.Generator.CPUS, percent(r.Generator.CPUShare), spreadWords(r.Generator))
	})
	add("server", func(r runView) string { return serverWords(r.Server) })
	add("answers compared", func(r runView) string { return count(r.Server.Checked) })
	return all
}

func loop(a askedView) string {
	if a.ClosedLoop {
		return " (closed loop)"
	}
	return ""
}
