//go:build cuda

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/thrumserve/thrum/backends/cuda"
	"github.com/thrumserve/thrum/backends/cuda/bench/forms"
	"github.com/thrumserve/thrum/bench/turns"
)

// profile shows where the time of models goes.
func (l *lab) profile(ctx context.Context) error {
	p, err := l.peaks(ctx)
	if err != nil {
		return l.failed("operations of models", "", err)
	}
	ends := func(rows []int) []int { return slices.Compact([]int{rows[0], rows[len(rows)-1]}) }
	var all []error
	for _, rows := range ends(l.encoded) {
		all = append(all, l.profiled(ctx, p, l.names.encoder+" bf16", l.encoding, "bf16", rows))
	}
	for _, rows := range ends(l.images) {
		all = append(all, l.profiled(ctx, p, l.names.network+" fp16", l.residual, "fp16", rows))
	}
	return errors.Join(append(all, l.profiled(ctx, p, l.names.recommender+" fp16", l.recommends, "fp16", l.recommended))...)
}

// profiled shows the operations of a model, those of one form together, the longest first.
func (l *lab) profiled(ctx context.Context, p peaks, name string, form forms.Model, precision string, rows int) error {
	what := fmt.Sprintf("%s, batch %d", name, rows)
	m, err := l.load(ctx, form, precision, rows)
	if err != nil {
		return l.failed(what, "", err)
	}
	defer m.Close()
	if err := fill(ctx, m, form.Batch(rows)); err != nil {
		return l.failed(what, "", err)
	}
	whole, err := l.replayed(ctx, m, rows)
	if err != nil {
		return l.failed(what, "", err)
	}
	const times = 20
	parts, err := m.Model.(cuda.Profiler).Profile(ctx, rows, times)
	if err != nil {
		return l.failed(what, "", err)
	}
	sum := time.Duration(0)
	for _, part := range parts {
		sum += part.Took
	}
	l.found(line{Finding: turns.Finding{What: what, Measured: fmt.Sprintf("%s as a graph; its %d operations, each %d times by itself, %s together", short(whole), len(parts), times, short(sum))},
		Figures: numbers("graph_us", micro(whole), "operations_us", micro(sum))})
	const most = 12
	groups := grouped(parts)
	for _, g := range groups[:min(most, len(groups))] {
		n := float64(g.count)
		l.found(line{Finding: turns.Finding{
			What:     fmt.Sprintf("  %d × %s %s", g.count, g.Operation, g.Shapes),
			Measured: fmt.Sprintf("%.0f %%: each %s, %s", 100*float64(g.Took)/float64(sum), p.text(g.Took/time.Duration(g.count), g.Operations/n, g.Bytes/n), g.By),
		}, Figures: p.figures(g.Took/time.Duration(g.count), g.Operations/n, g.Bytes/n)})
	}
	return nil
}

// group is operations of one form.
type group struct {
	cuda.Part
	count int
}

func grouped(parts []cuda.Part) []*group {
	of := map[string]*group{}
	var all []*group
	for _, p := range parts {
		key := strings.Join([]string{p.Operation, p.Shapes, p.By}, " ")
		g := of[key]
		if g == nil {
			g = &group{Part: cuda.Part{Operation: p.Operation, Shapes: p.Shapes, By: p.By}}
			of[key], all = g, append(all, g)
		}
		g.count, g.Took, g.Operations, g.Bytes = g.count+1, g.Took+p.Took, g.Operations+p.Operations, g.Bytes+p.Bytes
	}
	slices.SortStableFunc(all, func(a, b *group) int { return cmp.Compare(b.Took, a.Took) })
	return all
}
