package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"unsafe"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu"
	"github.com/thrumserve/thrum/bench/peers/engine"
	"github.com/thrumserve/thrum/bench/turns"
)

// duel is a model in thrum's engine and in another.
type duel struct {
	model     engine.Model
	what      string
	inputs    string // the name of the inputs
	precision string // of thrum
	threads   int

	peer          string
	peerPrecision string

	target float64 // of the ratio; 0 for none
	cosine float64 // that the first outputs have to have at least
}

// outcome is what a duel gave.
type outcome struct {
	turns.Result
	cosine, difference float64 // of the first outputs; the difference as a part of the largest value
	peer               string
}

// open loads a model in this process.
func open(ctx context.Context, m engine.Model, precision string, threads int) (backends.Model, error) {
	options := map[string]string{"threads": strconv.Itoa(threads)}
	if precision != "fp32" {
		options["precision"] = precision
	}
	return cpu.New(cpu.Options{}).Load(ctx, backends.Spec{Model: filepath.Base(m.Dir), Version: "1", Dir: m.Dir, Options: options})
}

// fight measures one duel in a running Python process.
func (l *lab) fight(ctx context.Context, d duel, peer *engine.Process) (o outcome, err error) {
	inputs, err := d.model.Inputs(d.inputs)
	if err != nil {
		return o, err
	}
	m, err := open(ctx, d.model, d.precision, d.threads)
	if err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	o.peer, err = peer.Load(engine.Load{Engine: d.peer, Model: d.model.File(), Threads: d.threads, Precision: d.peerPrecision, Inputs: inputs})
	if err != nil {
		return o, err
	}
	var answer backends.Batch
	o.Result, err = l.Compare(turns.Own(func() error {
		answer.Release()
		answer, err = m.Predict(ctx, backends.Batch{Tensors: inputs})
		return err
	}), peer.Run)
	if err != nil {
		return o, err
	}
	theirs, err := peer.Outputs()
	if err != nil {
		return o, err
	}
	o.cosine, o.difference, err = compare(answer.Tensors[0], theirs)
	return o, err
}

// compare returns how far apart two answers point, and by what part of the largest value they differ.
func compare(own backends.Tensor, theirs []backends.Tensor) (cosine, difference float64, err error) {
	for _, t := range theirs {
		if t.Name != own.Name {
			continue
		}
		a, b := floats(own.Data), floats(t.Data)
		if len(a) != len(b) {
			return 0, 0, fmt.Errorf("%s: shape %v, the other engine answers %v", own.Name, own.Shape, t.Shape)
		}
		var ab, aa, bb, most, largest float64
		for i := range a {
			x, y := float64(a[i]), float64(b[i])
			ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
			most, largest = max(most, math.Abs(x-y)), max(largest, math.Abs(y))
		}
		return ab / math.Sqrt(aa*bb), most / largest, nil
	}
	return 0, 0, fmt.Errorf("the other engine has no output %q", own.Name)
}

// finding is a duel as a line of the table.
func (l *lab) finding(ctx context.Context, d duel, peer *engine.Process) (turns.Finding, error) {
	o, err := l.fight(ctx, d, peer)
	if err != nil {
		return turns.Finding{}, fmt.Errorf("%s: %w", d.what, err)
	}
	f := turns.Finding{
		What:     fmt.Sprintf("%s, %s beside %s, threads: %d", d.what, d.precision, o.peer, d.threads),
		Measured: fmt.Sprintf("%v; cosine %.6f, differs by %.0e", o.Result, o.cosine, o.difference),
	}
	if d.target != 0 {
		f.Target = fmt.Sprintf("≥ %.1f×, cosine ≥ %v", d.target, d.cosine)
		f.Verdict = turns.Judge(o.Clock.Median >= d.target && o.cosine >= d.cosine)
	}
	return f, nil
}

// fights measures duels, one after the other, in one Python process.
func (l *lab) fights(ctx context.Context, duels []duel) (all []turns.Finding, err error) {
	peer, err := l.python(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, peer.Close()) }()
	var errs []error
	for _, d := range duels {
		f, err := l.finding(ctx, d, peer)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, f)
	}
	return all, errors.Join(errs...)
}

func floats(data []byte) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(data))), len(data)/4)
}
