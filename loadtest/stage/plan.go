// Package stage decides whether a build may go to production: it runs it at shares of the load
// that is forecast, through a spike and a soak, beside a baseline if there is one, and holds what
// comes of that against goals. What cannot be told does not pass.
package stage

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/thrumserve/thrum/loadtest/scenario"
	"github.com/thrumserve/thrum/loadtest/stats"
)

// Plan is what to run and what it has to hold. A part that is nil is not run.
type Plan struct {
	Model       string        `yaml:"model"`
	Version     string        `yaml:"version"`
	Forecast    Rate          `yaml:"forecast"` // the highest load that is expected
	Arrivals    string        `yaml:"arrivals"` // poisson (if empty), bursty or constant
	Seed        uint64        `yaml:"seed"`
	Inputs      string        `yaml:"inputs"` // generated (if empty), golden:DIR, file:PATH or capture:PATH
	Body        string        `yaml:"body"`   // json (if empty) or binary
	Cache       string        `yaml:"cache"`  // bypass (if empty), cold or production
	Timeout     time.Duration `yaml:"timeout"`
	Connections int           `yaml:"connections"`

	Headers  map[string]string `yaml:"headers"`  // sent with every request; a shell fills ${NAME} in, see Header
	CA       string            `yaml:"ca"`       // file of certificates by which to know an https server
	Insecure bool              `yaml:"insecure"` // believe an https server whoever it is

	Candidate *Build   `yaml:"candidate"`
	Baseline  *Build   `yaml:"baseline"`
	Steps     *Steps   `yaml:"steps"`
	Spike     *Spike   `yaml:"spike"`
	Soak      *Soak    `yaml:"soak"`
	Drain     *Drain   `yaml:"drain"`
	Compare   *Compare `yaml:"compare"`
	Goals     Goals    `yaml:"goals"`
}

// Build is a server: one that is there, or a command that starts it. ${PORT} and ${ADMIN_PORT}
// stand for ports that are free, in all three.
type Build struct {
	Command string        `yaml:"command"` // of a shell
	URL     string        `yaml:"url"`     // http://127.0.0.1:${PORT} if empty and there is a command
	Metrics string        `yaml:"metrics"` // http://127.0.0.1:${ADMIN_PORT}/metrics if empty and the command has such a port
	Ready   time.Duration `yaml:"ready"`   // how long it may take to start; a minute if 0
}

// Steps run shares of the forecast one after the other.
type Steps struct {
	Shares []Share       `yaml:"shares"` // 10, 25, 50, 75, 100, 125, 150 and 200 % if empty
	Length time.Duration `yaml:"length"` // of each; 30 s if 0
}

// Spike multiplies the load for a while, from half of the forecast.
type Spike struct {
	Factor  float64       `yaml:"factor"`  // 3 if 0
	Length  time.Duration `yaml:"length"`  // 10 s if 0
	Recover time.Duration `yaml:"recover"` // how long after it the latency goal may be broken; 5 s if 0
}

// Soak runs a share for long and watches what grows.
type Soak struct {
	Share  Share         `yaml:"share"`   // 50 % if 0
	Length time.Duration `yaml:"length"`  // 10 minutes if 0
	WarmUp time.Duration `yaml:"warm_up"` // before it, at its rate: what grows in it does not count; 30 s if 0
}

// Drain ends an overload and then the server.
type Drain struct {
	Within time.Duration `yaml:"within"` // how long both may take; 10 s if 0
}

// Compare runs candidate and baseline in turns.
type Compare struct {
	Runs       int           `yaml:"runs"`       // of each; 10 if 0
	Most       int           `yaml:"most"`       // of each, while it cannot be told; twice as many if 0
	Length     time.Duration `yaml:"length"`     // of a run; 10 s if 0
	Share      Share         `yaml:"share"`      // of the forecast; 100 % if 0
	Latency    Share         `yaml:"latency"`    // the smallest regression of the goal's percentile that matters; 5 % if 0
	Throughput Share         `yaml:"throughput"` // likewise, of goodput; 3 % if 0
}

// looks are after how many runs of each it is looked at: after those that are asked for and, while it
// cannot be told, halfway to the most and after the most. Blocks of two of each stay whole.
func (c Compare) looks() []int {
	looks := []int{c.Runs}
	if halfway := c.Runs + (c.Most-c.Runs+3)/4*2; halfway < c.Most {
		looks = append(looks, halfway)
	}
	if c.Most > c.Runs {
		looks = append(looks, c.Most)
	}
	return looks
}

// Goals are what has to hold at up to the whole forecast; one that is 0 is not asked for.
type Goals struct {
	Latency  scenario.Goal `yaml:"latency"`   // such as p99<=20ms
	Goodput  Share         `yaml:"goodput"`   // at least so much of what is offered is answered within the limit
	Errors   *Share        `yaml:"errors"`    // at most so many of the requests are not answered OK
	HitRatio Share         `yaml:"hit_ratio"` // of the cache, at least
	Memory   Bytes         `yaml:"memory"`    // at most
	Answers  Share         `yaml:"answers"`   // so many are compared with the offline answers; none may be wrong
}

// maxPlan bounds a plan, which is read whole.
const maxPlan = 1 << 20

// Read reads a plan, completes it and checks it.
func Read(path string) (Plan, error) {
	f, err := os.Open(path)
	if err != nil {
		return Plan{}, fmt.Errorf("plan: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPlan+1))
	if err != nil {
		return Plan{}, fmt.Errorf("plan: %w", err)
	}
	p, err := Parse(text)
	if err != nil {
		return Plan{}, fmt.Errorf("plan %s: %w", path, err)
	}
	return p, nil
}

// goType is how the decoder speaks of our types, which says nothing to who writes a plan.
var goType = regexp.MustCompile(` in type stage\.\w+`)

// Parse is Read of a text. An unknown key is an error that names it.
func Parse(text []byte) (Plan, error) {
	if len(text) > maxPlan {
		return Plan{}, fmt.Errorf("more than %d bytes", maxPlan)
	}
	var p Plan
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&p); errors.Is(err, io.EOF) {
		return Plan{}, errors.New("is empty: examples/staging/plan.yaml is one to begin with")
	} else if err != nil {
		return Plan{}, errors.New(goType.ReplaceAllString(strings.TrimPrefix(err.Error(), "yaml: "), ""))
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return Plan{}, errors.New("holds more than one document: keep the first")
	}
	p.complete()
	return p, p.check()
}

// complete sets what was left out.
func (p *Plan) complete() {
	p.Arrivals = cmp.Or(p.Arrivals, "poisson")
	p.Inputs = cmp.Or(p.Inputs, "generated")
	p.Body = cmp.Or(p.Body, "json")
	p.Cache = cmp.Or(p.Cache, "bypass")
	p.Timeout = cmp.Or(p.Timeout, max(time.Second, 10*p.Goals.Latency.Limit))
	for _, b := range []*Build{p.Candidate, p.Baseline} {
		if b != nil {
			b.complete()
		}
	}
	if s := p.Steps; s != nil {
		if len(s.Shares) == 0 {
			s.Shares = []Share{0.10, 0.25, 0.50, 0.75, 1.00, 1.25, 1.50, 2.00}
		}
		s.Length = cmp.Or(s.Length, 30*time.Second)
	}
	if s := p.Spike; s != nil {
		s.Factor, s.Length, s.Recover = cmp.Or(s.Factor, 3), cmp.Or(s.Length, 10*time.Second), cmp.Or(s.Recover, 5*time.Second)
	}
	if s := p.Soak; s != nil {
		s.Share, s.Length, s.WarmUp = cmp.Or(s.Share, 0.5), cmp.Or(s.Length, 10*time.Minute), cmp.Or(s.WarmUp, 30*time.Second)
	}
	if p.Drain != nil {
		p.Drain.Within = cmp.Or(p.Drain.Within, 10*time.Second)
	}
	if p.Baseline != nil && p.Compare == nil {
		p.Compare = &Compare{}
	}
	if c := p.Compare; c != nil {
		c.Runs, c.Length, c.Share = cmp.Or(c.Runs, 10), cmp.Or(c.Length, 10*time.Second), cmp.Or(c.Share, 1)
		c.Most = cmp.Or(c.Most, 2*c.Runs)
		c.Latency, c.Throughput = cmp.Or(c.Latency, 0.05), cmp.Or(c.Throughput, 0.03)
	}
}

func (b *Build) complete() {
	b.Ready = cmp.Or(b.Ready, time.Minute)
	if b.Command == "" {
		return
	}
	b.URL = cmp.Or(b.URL, "http://127.0.0.1:${PORT}")
	if b.Metrics == "" && strings.Contains(b.Command, "${ADMIN_PORT}") {
		b.Metrics = "http://127.0.0.1:${ADMIN_PORT}/metrics"
	}
}

// fewestRuns an arm: with fewer, noise of a few percent hides what matters.
const (
	fewestRuns = 10
	mostRuns   = 200
)

// check reports the first setting that cannot be, or that contradicts another.
func (p *Plan) check() error {
	for _, c := range []struct {
		wrong bool
		text  string
	}{
		{p.Model == "", "model: missing: name the model to send requests to"},
		{p.Forecast == 0, "forecast: missing: the highest load that is expected, such as 400/s"},
		{!slices.Contains([]string{"poisson", "bursty", "constant"}, p.Arrivals), fmt.Sprintf("arrivals: %q: use poisson, bursty or constant", p.Arrivals)},
		{!slices.Contains([]string{"json", "binary"}, p.Body), fmt.Sprintf("body: %q: use json or binary", p.Body)},
		{!slices.Contains([]string{"bypass", "cold", "production"}, p.Cache), fmt.Sprintf("cache: %q: use bypass, cold or production", p.Cache)},
		{p.CA != "" && p.Insecure, "ca and insecure contradict each other: with the latter nobody is asked for a certificate"},
		{p.Timeout < 0 || p.Connections < 0, "timeout and connections cannot be negative"},
		{p.Candidate == nil, "candidate: missing: give its command or its url"},
		{p.Steps == nil && p.Spike == nil && p.Soak == nil && p.Drain == nil && p.Compare == nil, "nothing to run: give at least one of steps, spike, soak, drain and baseline"},
		{p.Goals == Goals{} && p.Compare == nil, "goals: missing, and there is no baseline either: nothing could fail"},
		{p.Compare != nil && p.Baseline == nil, "compare and baseline: compare needs a baseline to compare with: give its command or its url"},
		{p.Goals.HitRatio > 0 && p.Cache == "bypass", fmt.Sprintf("goals.hit_ratio and cache: a hit ratio of %v cannot be while the cache is bypassed: set cache: production or leave the goal out", p.Goals.HitRatio)},
		{p.Goals.HitRatio > 1, fmt.Sprintf("goals.hit_ratio: %v is more than everything", p.Goals.HitRatio)},
		{p.Goals.Goodput > 1, fmt.Sprintf("goals.goodput: %v is more than everything", p.Goals.Goodput)},
		{p.Goals.Answers > 1, fmt.Sprintf("goals.answers: %v is more than everything", p.Goals.Answers)},
		{p.Goals.Goodput > 0 && p.Goals.Latency.Limit == 0, "goals.goodput and goals.latency: goodput counts answers within the limit of latency: set that, too"},
		{(p.Spike != nil || p.Drain != nil || p.Compare != nil) && p.Goals.Latency.Limit == 0, "goals.latency: missing: spike, drain and compare are about that percentile, such as p99<=20ms"},
		{p.Goals.Latency.Limit > 0 && p.Timeout <= p.Goals.Latency.Limit, fmt.Sprintf("timeout and goals.latency: requests are given up after %v, so no percentile could be told from its limit of %v: raise timeout", p.Timeout, p.Goals.Latency.Limit)},
		{p.Soak != nil && p.Soak.Length < leastSoak, fmt.Sprintf("soak.length: nothing can be said of growth in less than %v", leastSoak)},
		{p.Soak != nil && p.Soak.WarmUp < 0, "soak.warm_up: cannot be negative"},
		{p.Spike != nil && (p.Spike.Factor <= 1 || p.Spike.Factor > 100), "spike.factor: is more than 1 and at most 100"},
		{p.Spike != nil && (p.Spike.Length <= 0 || p.Spike.Recover <= 0), "spike.length and spike.recover: have to be positive"},
		{p.Drain != nil && p.Drain.Within <= 0, "drain.within: has to be positive"},
		{p.unheld(), "goals and steps: goals hold at up to the whole forecast, but no share of steps is at most 100 % and there is no soak: nothing would be held against them"},
		{p.Compare != nil && p.Compare.Runs < fewestRuns, fmt.Sprintf("compare.runs: at least %d, so that noise does not hide what matters", fewestRuns)},
		{p.Compare != nil && (p.Compare.Most < p.Compare.Runs || p.Compare.Most > mostRuns), fmt.Sprintf("compare.most and compare.runs: at most %d runs of each, and no fewer than runs", mostRuns)},
	} {
		if c.wrong {
			return errors.New(c.text)
		}
	}
	return cmp.Or(p.checkBuilds(), p.checkSteps(), p.checkCompare())
}

// unheld reports goals that no part of the plan would be held against.
func (p *Plan) unheld() bool {
	if p.Soak != nil || p.Steps != nil && p.Steps.Shares[0] <= 1 {
		return false
	}
	g := p.Goals
	latency := g.Latency.Limit > 0 && p.Spike == nil && p.Drain == nil && p.Compare == nil // which are about it
	return latency || g.Goodput > 0 || g.Errors != nil || g.HitRatio > 0 || g.Answers > 0
}

func (p *Plan) checkBuilds() error {
	for name, b := range map[string]*Build{"candidate": p.Candidate, "baseline": p.Baseline} {
		if b == nil {
			continue
		}
		if b.Command == "" && b.URL == "" {
			return fmt.Errorf("%s: give its command or its url", name)
		}
		uses := strings.Contains(b.Command, "${PORT}")
		if b.Command != "" && !uses && strings.Contains(b.URL, "${PORT}") {
			return fmt.Errorf("%s.command and %s.url: the command does not listen on ${PORT}: put it there, or say in url where it listens", name, name)
		}
		if b.Command == "" && strings.Contains(b.URL+b.Metrics, "PORT}") {
			return fmt.Errorf("%s.url: ${PORT} stands for nothing without a command", name)
		}
	}
	if p.Baseline != nil && p.Baseline.URL == p.Candidate.URL && !strings.Contains(p.Baseline.URL, "${PORT}") {
		return fmt.Errorf("candidate.url and baseline.url: both are %s: they are the same server", p.Baseline.URL)
	}
	if p.Goals.Memory > 0 && p.Candidate.Command == "" && p.Candidate.Metrics == "" {
		return errors.New("goals.memory and candidate.url: the memory of a server that is not started here is known from its metrics alone: set candidate.metrics")
	}
	if p.Soak != nil && p.Candidate.Command == "" && p.Candidate.Metrics == "" {
		return errors.New("soak and candidate.url: what grows in a server that is not started here is known from its metrics alone: set candidate.metrics")
	}
	return nil
}

func (p *Plan) checkSteps() error {
	if p.Steps == nil {
		return nil
	}
	for i, s := range p.Steps.Shares {
		if s <= 0 || i > 0 && s <= p.Steps.Shares[i-1] {
			return fmt.Errorf("steps.shares: %v: shares rise, from more than 0", s)
		}
	}
	return p.enough("steps.length", p.Steps.Shares[0], p.Steps.Length)
}

func (p *Plan) checkCompare() error {
	if p.Compare == nil {
		return nil
	}
	return p.enough("compare.length", p.Compare.Share, p.Compare.Length)
}

// enough reports a part that sends too few requests to say anything of the percentile.
func (p *Plan) enough(setting string, share Share, length time.Duration) error {
	g := p.Goals.Latency
	if length <= 0 {
		return fmt.Errorf("%s: has to be positive", setting)
	}
	if g.Limit == 0 {
		return nil
	}
	// One more than none may be over.
	sends, needs := float64(p.Forecast)*float64(share)*length.Seconds(), float64(stats.Required(g.Percentile, 1))
	if sends < needs {
		return fmt.Errorf("%s and goals.latency: %v of %v/s for %v are %.0f requests, and %s needs %.0f of them: set %s to %v",
			setting, share, float64(p.Forecast), length, sends, g.Name(), needs, setting,
			(time.Duration(needs/float64(p.Forecast)/float64(share)*1e9)).Truncate(time.Second)+time.Second)
	}
	return nil
}

// leastSoak leaves enough seconds for a slope.
const leastSoak = time.Minute
