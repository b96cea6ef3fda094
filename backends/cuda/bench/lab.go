//go:build cuda

package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cuda"
	"github.com/thrumserve/thrum/backends/cuda/bench/forms"
	"github.com/thrumserve/thrum/bench/turns"
)

// lab is what one row is measured with.
type lab struct {
	settings
	turns.Plan
	sizes
	backend *cuda.Backend
	until   time.Time // when the row has to be done
	peers   map[string]*peer
	without string // why there is no peer; empty if there is
}

// rounds of a comparison share its length.
const rounds = 7

func newLab(s settings) *lab {
	l := &lab{
		settings: s, Plan: turns.Plan{Rounds: rounds, Length: s.length / rounds}, sizes: usual, backend: s.backend(), until: time.Now().Add(s.within), peers: map[string]*peer{},
	}
	if s.small {
		l.sizes = small
	}
	return l
}

func (l *lab) close() error {
	var all []error
	for _, p := range l.peers {
		all = append(all, p.close())
	}
	return errors.Join(append(all, l.backend.Close())...)
}

// found prints a line of the table.
func (l *lab) found(f line) {
	text, err := json.Marshal(f)
	if err != nil {
		panic(err) // texts and numbers; those that are not numbers are left out by numbers
	}
	fmt.Println(string(text))
}

// failed prints a line that has not been measured, and returns its error.
func (l *lab) failed(what, target string, err error) error {
	l.found(line{Finding: turns.Finding{What: what, Measured: "not measured: " + oneLine(err.Error()), Target: target, Verdict: turns.NotMeasured}})
	return fmt.Errorf("%s: %w", what, err)
}

// model returns the folder of a model, which is written the first time that any row asks for it.
func (l *lab) model(m forms.Model) (string, error) {
	form, err := json.Marshal(m)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(l.models, fmt.Sprintf("%s-%x", m.Kind(), sha256.Sum256(form)))
	if _, err := os.Stat(filepath.Join(dir, forms.File)); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	return dir, forms.Write(dir, m)
}

// loaded is a model on the device.
type loaded struct {
	backends.Model
	cuda.Replayer
	form forms.Model
	dir  string
}

// load brings a model to the device, for batches of so many rows at most.
func (l *lab) load(ctx context.Context, form forms.Model, precision string, rows int) (loaded, error) {
	return l.loadBy(ctx, form, map[string]string{"precision": precision}, rows)
}

// loadBy is load with all of the backend's options.
func (l *lab) loadBy(ctx context.Context, form forms.Model, options map[string]string, rows int) (loaded, error) {
	dir, err := l.model(form)
	if err != nil {
		return loaded{}, err
	}
	m, err := l.backend.Load(ctx, backends.Spec{Model: form.Kind(), Version: "1", Dir: dir, MaxRows: rows, Options: options})
	if err != nil {
		return loaded{}, err
	}
	return loaded{m, m.(cuda.Replayer), form, dir}, nil
}

// shared copies a batch into memory from which the device copies without a detour, as that is which a
// server shares with this backend.
func (l *lab) shared(in backends.Batch) (backends.Batch, func()) {
	total := 0
	for _, t := range in.Tensors {
		total += len(t.Data)
	}
	mem := pages(total)
	end := l.backend.Share(mem)
	out := backends.Batch{Tensors: append([]backends.Tensor(nil), in.Tensors...)}
	for i := range out.Tensors {
		t := &out.Tensors[i]
		n := copy(mem, t.Data)
		t.Data, mem = mem[:n:n], mem[n:]
	}
	return out, end
}

// pages returns memory that begins with a page and ends with one.
func pages(n int) []byte {
	const page = 4096
	mem := make([]byte, (n+2*page-1)/page*page+page)
	skip := (page - int(addressOf(mem)%page)) % page
	return mem[skip : skip+(n+page-1)/page*page]
}

// fill has both lanes of a model hold a batch, so that replays compute something.
func fill(ctx context.Context, m backends.Model, in backends.Batch) error {
	const lanes = 2
	for range lanes {
		out, err := m.Predict(ctx, in)
		if err != nil {
			return err
		}
		out.Release()
	}
	return nil
}

// once is a run of a batch from memory to memory.
func once(ctx context.Context, m backends.Model, in backends.Batch) func() error {
	return func() error {
		out, err := m.Predict(ctx, in)
		out.Release()
		return err
	}
}

// replays is the side of a model whose graphs alone run, one after the other: its clock is the device's.
func replays(ctx context.Context, m loaded, rows int) turns.Side {
	n := 1
	return func(length time.Duration) (turns.Timing, error) {
		var t turns.Timing
		for began := time.Now(); t.Runs == 0 || time.Since(began) < length; {
			each, err := m.Replay(ctx, rows, n)
			if err != nil {
				return t, err
			}
			t.Runs, t.Clock = t.Runs+n, t.Clock+time.Duration(n)*each
			n = min(max(int(min(length, 20*time.Millisecond)/max(each, 1)), 1), 1000)
		}
		return t, nil
	}
}

// inGraph is how often what takes no longer than a graph takes to be launched runs in a graph, to be measured.
const inGraph = 20

// repeats is the side of a model of one operation, which runs so often in a graph.
func repeats(ctx context.Context, m loaded, rows int) turns.Side {
	return func(length time.Duration) (turns.Timing, error) {
		var t turns.Timing
		for began := time.Now(); t.Runs == 0 || time.Since(began) < length; t.Runs += inGraph {
			parts, err := m.Model.(cuda.Profiler).Profile(ctx, rows, inGraph)
			if err != nil {
				return t, err
			}
			for _, p := range parts {
				t.Clock += inGraph * p.Took
			}
		}
		return t, nil
	}
}

// replayed returns the median time of a replay in some rounds.
func (l *lab) replayed(ctx context.Context, m loaded, rows int) (time.Duration, error) {
	side := replays(ctx, m, rows)
	if _, err := side(l.Length / 10); err != nil {
		return 0, err
	}
	var all []float64
	for range l.Rounds {
		t, err := side(l.Length / 2)
		if err != nil {
			return 0, err
		}
		all = append(all, float64(t.Clock)/float64(t.Runs))
	}
	return time.Duration(turns.SpreadOf(all).Median), nil
}

// short writes a time with three digits.
func short(d time.Duration) string {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit).String()
}
