//go:build cuda

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cuda/bench/forms"
	"github.com/thrumserve/thrum/bench/turns"
)

func (l *lab) encoder(ctx context.Context) error {
	what := fmt.Sprintf("%s bf16, %d words", l.names.encoder, l.encoding.Sequence)
	return l.fights(ctx, duel{what: what, form: l.encoding, precision: "bf16", cosine: 0.99}, l.encoded)
}

func (l *lab) network(ctx context.Context) error {
	return l.fights(ctx, duel{what: l.names.network + " fp16, channels last", form: l.residual, precision: "fp16", cosine: 0.999}, l.images)
}

// limit compares the encoder's rate with that of a large product, by PyTorch and through this backend.
func (l *lab) limit(ctx context.Context) error {
	rows := l.encoded[len(l.encoded)-1]
	what := fmt.Sprintf("%s bf16, batch %d, beside %d³ of ", l.names.encoder, rows, l.side)
	m, err := l.load(ctx, l.encoding, "bf16", rows)
	if err != nil {
		return l.failed(what+"cuBLAS", "", err)
	}
	defer m.Close()
	if err := fill(ctx, m, l.encoding.Batch(rows)); err != nil {
		return l.failed(what+"cuBLAS", "", err)
	}
	own, operations := replays(ctx, m, rows), l.encoding.Operations()*float64(rows)
	best := forms.Products(backends.BF16, l.side, l.side, l.side, 2)
	library, err := l.loadBy(ctx, best, map[string]string{"precision": "bf16", "products": byLibrary}, 1)
	if err == nil {
		defer library.Close()
		err = fill(ctx, library, best.Batch(1))
	}
	other := replays(ctx, library, 1)
	first := l.beside(what+"cuBLASLt through this backend", own, func(length time.Duration) (turns.Timing, error) {
		t, err := other(length)
		t.Runs *= best.Times
		return t, err
	}, operations, err)
	p, err := l.startPeer(ctx, time.Until(l.until))
	if err != nil {
		return errors.Join(first, l.beside(what+"cuBLAS in PyTorch", own, nil, operations, err))
	}
	l.peers["product"] = p
	var answer struct{}
	err = p.ask(map[string]any{"do": "product", "size": l.side}, time.Until(l.until), &answer)
	return errors.Join(first, l.beside(what+"cuBLAS in PyTorch", own, p.side("device"), operations, err))
}

// beside compares a rate with that of large products, unless an error says that there are none.
func (l *lab) beside(what string, own, products turns.Side, operations float64, without error) error {
	const target = "≥ 0.55"
	if without != nil {
		t, err := own(l.Length)
		if err != nil {
			return l.failed(what, target, err)
		}
		each := t.Clock / time.Duration(t.Runs)
		l.found(line{Finding: turns.Finding{What: what, Measured: fmt.Sprintf("%s; the product is not measured: %s", rate(operations, each), oneLine(without.Error())), Target: target, Verdict: turns.NotMeasured},
			Figures: numbers("own_tflops", tera(operations, each))})
		return nil
	}
	r, err := l.Compare(own, products)
	if err != nil {
		return l.failed(what, target, err)
	}
	product := 2 * float64(l.side) * float64(l.side) * float64(l.side)
	share := r.Clock.Times(operations / product)
	l.found(line{Finding: turns.Finding{What: what, Measured: fmt.Sprintf("%v; %s beside %s", share, rate(operations, r.Own), rate(product, r.Other)), Target: target, Verdict: turns.AtLeast(share, 0.55)},
		Figures: numbers("share", share.Median, "own_tflops", tera(operations, r.Own), "product_tflops", tera(product, r.Other))})
	return nil
}

func tera(operations float64, took time.Duration) float64 { return operations / took.Seconds() / 1e12 }

// rate writes what was computed in a time.
func rate(operations float64, took time.Duration) string {
	return fmt.Sprintf("%.4g TFLOPS (%s)", tera(operations, took), short(took))
}

// recommender measures the whole model, and its tables beside the reading of as many rows of one table.
func (l *lab) recommender(ctx context.Context) error {
	what := fmt.Sprintf("%s fp16, %d tables of %d columns", l.names.recommender, len(l.recommends.Tables), l.recommends.Width)
	until := l.until
	l.until = time.Now().Add(time.Until(until) * 2 / 3)
	err := l.fights(ctx, duel{what: what, form: l.recommends, precision: "fp16", cosine: 0.999}, []int{l.recommended})
	l.until = until
	return errors.Join(err, l.gathering(ctx))
}

// gathering compares a lookup in many tables with what reading rows takes at best.
func (l *lab) gathering(ctx context.Context) (err error) {
	rows := l.recommended
	what, target := fmt.Sprintf("lookup in %d tables, batch %d, beside as many random rows of one table", len(l.recommends.Tables), rows), "≥ 0.7"
	var sides [2]turns.Side
	for i, form := range []forms.Model{forms.Lookup{Recommender: l.recommends}, forms.Rows{Recommender: l.recommends}} {
		m, err := l.load(ctx, form, "fp16", rows)
		if err != nil {
			return l.failed(what, target, err)
		}
		defer m.Close()
		if err := fill(ctx, m, form.Batch(rows)); err != nil {
			return l.failed(what, target, err)
		}
		sides[i] = repeats(ctx, m, rows)
	}
	r, err := l.Compare(sides[0], sides[1])
	if err != nil {
		return l.failed(what, target, err)
	}
	bytes := 2 * float64(rows*len(l.recommends.Tables)*l.recommends.Width)
	l.found(line{Finding: turns.Finding{What: what, Measured: fmt.Sprintf("%v; %s beside %s, %.3g beside %.3g GB/s of rows", r.Clock, short(r.Own), short(r.Other), giga(bytes, r.Own), giga(bytes, r.Other)),
		Target: target, Verdict: turns.AtLeast(r.Clock, 0.7)},
		Figures: numbers("share", r.Clock.Median, "own_us", micro(r.Own), "bound_us", micro(r.Other))})
	return l.gatheringElsewhere(ctx, sides[0], what, target)
}

// gatheringElsewhere compares the lookup with PyTorch's reading of rows of one table.
func (l *lab) gatheringElsewhere(ctx context.Context, own turns.Side, what, target string) error {
	form, rows := forms.Rows{Recommender: l.recommends}, l.recommended
	dir, err := l.model(form)
	if err != nil {
		return err
	}
	what += " in PyTorch"
	p, notes := l.opponent(ctx, duel{form: form, precision: "fp16", times: inGraph}, dir, form.Batch(rows), l.until)
	if p == nil {
		l.found(line{Finding: turns.Finding{What: what, Measured: "not measured: " + notes, Target: target, Verdict: turns.NotMeasured}})
		return nil
	}
	r, err := l.Compare(own, p.side("device"))
	if err != nil {
		return l.failed(what, target, err)
	}
	l.found(line{Finding: turns.Finding{What: what, Measured: fmt.Sprintf("%v; %s beside %s; %s%s", r.Clock, short(r.Own), short(r.Other), p.about, notes), Target: target, Verdict: turns.AtLeast(r.Clock, 0.7)},
		Figures: numbers("share", r.Clock.Median, "own_us", micro(r.Own), "other_us", micro(r.Other))})
	return nil
}

func giga(bytes float64, took time.Duration) float64 { return bytes / took.Seconds() / 1e9 }
