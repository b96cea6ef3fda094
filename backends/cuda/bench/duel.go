//go:build cuda

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cuda/bench/forms"
	"github.com/thrumserve/thrum/bench/turns"
)

// duel is a model on the device beside the same in PyTorch.
type duel struct {
	what      string
	form      forms.Model
	precision string
	cosine    float64 // that the answers have to have at least
	times     int     // that the peer runs it in a graph
}

// fights measures a model for several numbers of rows. One that fails costs no other.
func (l *lab) fights(ctx context.Context, d duel, rows []int) error {
	largest := rows[len(rows)-1]
	m, err := l.load(ctx, d.form, d.precision, largest)
	if err != nil {
		return l.failed(d.what, "", err)
	}
	defer m.Close()
	var all []error
	for i, n := range rows {
		share := time.Until(l.until) / time.Duration(len(rows)-i)
		all = append(all, l.fight(ctx, d, m, n, time.Now().Add(share)))
	}
	return errors.Join(all...)
}

// fight measures one number of rows, until a time.
func (l *lab) fight(ctx context.Context, d duel, m loaded, rows int, until time.Time) error {
	in, end := l.shared(d.form.Batch(rows))
	defer end()
	answer, err := answerOf(ctx, m, in)
	what := fmt.Sprintf("%s, batch %d", d.what, rows)
	const target = "≥ 1.0×"
	if err != nil {
		return l.failed(what, target, err)
	}
	if err := fill(ctx, m, in); err != nil {
		return l.failed(what, target, err)
	}
	device, memory := replays(ctx, m, rows), turns.Own(once(ctx, m, in))
	p, notes := l.opponent(ctx, d, m.dir, in, until)
	if p == nil {
		return l.unopposed(what, target, device, memory, notes)
	}
	theirs, err := p.output()
	if err != nil {
		return l.failed(what, target, err)
	}
	same, err := cosine(answer, theirs)
	if err != nil {
		return l.failed(what, target, err)
	}
	held := same >= d.cosine
	for _, side := range []struct {
		how, text, target string
		own               turns.Side
	}{{"device", "from the device's memory to its memory", target, device}, {"memory", "from memory to memory", "", memory}} {
		r, err := l.Compare(side.own, p.side(side.how))
		if err != nil {
			return l.failed(what, target, err)
		}
		f := line{Finding: turns.Finding{
			What:     what + ", " + side.text,
			Measured: fmt.Sprintf("%v×; %s beside %s; cosine %.5f; %s%s", r.Clock, short(r.Own), short(r.Other), same, p.about, notes),
			Target:   side.target,
		}, Figures: numbers("ratio", r.Clock.Median, "least", r.Clock.Least, "most", r.Clock.Most, "own_us", micro(r.Own), "other_us", micro(r.Other), "cosine", same)}
		switch {
		case !held:
			f.Verdict, f.Target = turns.Missed, fmt.Sprintf("cosine ≥ %v", d.cosine)
		case side.target != "":
			f.Verdict = turns.AtLeast(r.Clock, 1)
		}
		l.found(f)
	}
	return nil
}

// unopposed measures a model without a peer.
func (l *lab) unopposed(what, target string, device, memory turns.Side, why string) error {
	each := func(side turns.Side) (time.Duration, error) {
		var all []float64
		for range l.Rounds {
			t, err := side(l.Length)
			if err != nil {
				return 0, err
			}
			all = append(all, float64(t.Clock)/float64(t.Runs))
		}
		return time.Duration(turns.SpreadOf(all).Median), nil
	}
	alone, err := each(device)
	if err != nil {
		return l.failed(what, target, err)
	}
	around, err := each(memory)
	if err != nil {
		return l.failed(what, target, err)
	}
	l.found(line{Finding: turns.Finding{
		What:     what,
		Measured: fmt.Sprintf("%s from the device's memory to its memory, %s from memory to memory; PyTorch is not measured: %s", short(alone), short(around), why),
		Target:   target, Verdict: turns.NotMeasured,
	}, Figures: numbers("own_us", micro(alone), "own_memory_us", micro(around))})
	return nil
}

// opponent returns the fastest of what PyTorch makes of a model in the modes that there is time for, and
// what is to be said of the others; nil and the reason if none works.
func (l *lab) opponent(ctx context.Context, d duel, dir string, in backends.Batch, until time.Time) (best *peer, notes string) {
	if l.without != "" {
		return nil, l.without
	}
	fastest, first := math.Inf(1), time.Duration(0)
	var said []string
	for i, mode := range strings.Split(l.modes, ",") {
		deadline := until.Add(-3 * l.length) // what measuring takes
		if i == 0 {
			deadline = l.until.Add(-3 * l.length) // better this one than those behind it
		}
		if i > 0 && time.Until(deadline) < 3*first {
			said = append(said, mode+" is not tried for want of time")
			continue
		}
		began := time.Now()
		p, each, err := l.compiled(ctx, d, dir, mode, in, deadline)
		if i == 0 {
			first = time.Since(began)
		}
		if l.without != "" {
			return nil, l.without
		}
		if err != nil {
			said = append(said, fmt.Sprintf("%s: %s", mode, oneLine(err.Error())))
			continue
		}
		if each < fastest {
			best, fastest = p, each
		}
	}
	if best == nil {
		return nil, strings.Join(said, "; ")
	}
	if len(said) > 0 {
		notes = "; " + strings.Join(said, "; ")
	}
	return best, notes
}

// compiled has the process of a mode load a model, and returns what a run of it takes.
func (l *lab) compiled(ctx context.Context, d duel, dir, mode string, in backends.Batch, deadline time.Time) (p *peer, each float64, err error) {
	p = l.peers[mode]
	if p == nil {
		if p, err = l.startPeer(ctx, time.Until(deadline)); err != nil {
			if len(l.peers) == 0 {
				l.without = oneLine(err.Error())
			}
			return nil, 0, err
		}
		l.peers[mode] = p
	}
	t, err := turns.Timing{}, p.load(loading{Folder: dir, Precision: d.precision, Mode: mode, Times: max(d.times, 1)}, in, time.Until(deadline))
	if err == nil {
		t, err = p.side("device")(l.Length)
	}
	if err != nil {
		delete(l.peers, mode) // whatever state it is in, the next one begins anew
		return nil, 0, errors.Join(err, p.close())
	}
	return p, float64(t.Clock) / float64(t.Runs), nil
}

// answerOf returns the numbers of a model's first output.
func answerOf(ctx context.Context, m backends.Model, in backends.Batch) ([]float32, error) {
	out, err := m.Predict(ctx, in)
	if err != nil {
		return nil, err
	}
	defer out.Release()
	if out.Tensors[0].Datatype != backends.FP32 {
		return nil, fmt.Errorf("the model answers %v", out.Tensors[0].Datatype)
	}
	return append([]float32(nil), floats(out.Tensors[0].Data)...), nil
}

// numbers makes figures of names and values, without those that JSON has no form for.
func numbers(all ...any) map[string]float64 {
	m := map[string]float64{}
	for i := 0; i < len(all); i += 2 {
		if v := all[i+1].(float64); !math.IsNaN(v) && !math.IsInf(v, 0) {
			m[all[i].(string)] = v
		}
	}
	return m
}

func micro(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
