//go:build cuda

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/thrumserve/thrum/bench/turns"
)

// row is a part of the table that is measured by itself.
type row struct {
	name   string
	weight float64 // of its share of the time
	run    func(l *lab, ctx context.Context) error
}

// rows are what is measured, in this order.
var rows = []row{
	{"device", 1, (*lab).device},
	{"encoder", 8, (*lab).encoder},
	{"limit", 2.5, (*lab).limit},
	{"network", 6, (*lab).network},
	{"recommender", 3.5, (*lab).recommender},
	{"server", 2, (*lab).server},
	{"processor", 1, (*lab).processor},
	{"overlap", 1.5, (*lab).overlap},
	{"kernels", 3.5, (*lab).kernels},
	{"profile", 2, (*lab).profile},
}

// named returns the rows as the table's, measured by run.
func named(run func(context.Context, row) ([]turns.Finding, error)) []turns.Row {
	var all []turns.Row
	for _, r := range rows {
		all = append(all, turns.Row{Name: r.name, Run: func(ctx context.Context) ([]turns.Finding, error) { return run(ctx, r) }})
	}
	return all
}

// line is a line of the table, with its figures.
type line struct {
	Row string
	turns.Finding
	Figures map[string]float64 `json:",omitempty"`
}

// report is all that was found.
type report struct {
	Machine machine
	Began   time.Time
	Lines   []line
	Errors  []string `json:",omitempty"`
}

// table measures rows in processes and collects what they print.
type table struct {
	settings
	report
	until     time.Time
	weight    float64  // of the rows that are still to be measured
	libraries []string // where the processes find cuBLASLt, as their environment
}

// measure runs one row in a process, which has its share of the time that is left.
func (t *table) measure(ctx context.Context, r row) ([]turns.Finding, error) {
	share := time.Duration(float64(time.Until(t.until)) * r.weight / t.weight)
	t.weight -= r.weight
	lines, err := t.process(ctx, r, max(share, time.Second))
	var all []turns.Finding
	for _, l := range lines {
		l.Row = r.name
		t.Lines = append(t.Lines, l)
		all = append(all, l.Finding)
	}
	if err != nil {
		t.Errors = append(t.Errors, fmt.Sprintf("%s: %v", r.name, err))
		all = append(all, turns.Finding{What: r.name, Measured: "not measured: " + oneLine(err.Error()), Verdict: turns.NotMeasured})
	}
	return all, errors.Join(err, t.save())
}

// process runs one row and returns what it has found until it ended. What takes longer than it may is ended.
func (t *table) process(ctx context.Context, r row, share time.Duration) ([]line, error) {
	const grace = 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, share+grace)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{"-row", r.name, "-models", t.models, "-folder", t.folder, "-time", t.length.String(), "-within", share.String(), "-modes", t.modes, "-python", t.python}
	if t.small {
		args = append(args, "-small")
	}
	if t.pretend {
		args = append(args, "-pretend")
	}
	var out bytes.Buffer
	c := exec.CommandContext(ctx, self, args...)
	said := &tail{}
	c.Stdout, c.Stderr = &out, io.MultiWriter(os.Stderr, said)
	c.Env = append(os.Environ(), t.libraries...)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with all that it starts
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = time.Second
	err = c.Run()
	switch {
	case err != nil && ctx.Err() == nil:
		err = fmt.Errorf("%w: %s", err, said)
	case ctx.Err() != nil:
		err = fmt.Errorf("it took more than %v", (share + grace).Round(time.Second))
	}
	lines, broken := decode(out.Bytes())
	return lines, errors.Join(err, broken)
}

// decode reads the lines that a process has printed, of which the last may be cut off.
func decode(out []byte) ([]line, error) {
	var all []line
	for text := range bytes.Lines(out) {
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			return all, fmt.Errorf("it printed %.100q: %w", text, err)
		}
		all = append(all, l)
	}
	return all, nil
}

// save writes the figures, after every row: a program that is ended has left them.
func (t *table) save() error {
	if t.figures == "" {
		return nil
	}
	text, err := json.MarshalIndent(t.report, "", "  ")
	return errors.Join(err, os.WriteFile(t.figures, append(text, '\n'), 0o644))
}

// oneLine returns the end of a text that may be long.
func oneLine(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	const most = 200
	if len(text) > most {
		text = "… " + text[len(text)-most:]
	}
	return text
}
