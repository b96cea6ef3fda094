//go:build cuda

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cuda/bench/forms"
	"github.com/thrumserve/thrum/bench/turns"
)

// overlap compares batches that are copied in while others are computed with the longer of the two alone,
// where both take about the same.
func (l *lab) overlap(ctx context.Context) error {
	const rows = 8
	what, target := "copy and compute overlapped, beside the longer of the two alone", "≤ 1.1×"
	copying, each, err := l.copying(ctx, rows)
	if err != nil {
		return l.failed(what, target, err)
	}
	depth := min(max(int(float64(copying)/float64(max(each, 1))+0.5), 1), l.deepest)
	m, err := l.load(ctx, forms.Copied{Side: l.copied, Depth: depth}, "bf16", rows)
	if err != nil {
		return l.failed(what, target, err)
	}
	defer m.Close()
	in, end := l.shared(m.form.Batch(rows))
	defer end()
	if err := fill(ctx, m, in); err != nil {
		return l.failed(what, target, err)
	}
	bare, err := l.load(ctx, forms.Copied{Side: l.copied}, "bf16", rows)
	if err != nil {
		return l.failed(what, target, err)
	}
	defer bare.Close()
	var ratios, times, copies, computes []float64
	for range l.Rounds {
		var took [3]float64
		for i, side := range []turns.Side{streamed(ctx, m, in), streamed(ctx, bare, in), replays(ctx, m, rows)} {
			t, err := side(l.Length)
			if err != nil {
				return l.failed(what, target, err)
			}
			took[i] = float64(t.Clock) / float64(t.Runs)
		}
		times, copies, computes = append(times, took[0]), append(copies, took[1]), append(computes, took[2])
		ratios = append(ratios, took[0]/max(took[1], took[2]))
	}
	r, median := turns.SpreadOf(ratios), func(all []float64) time.Duration { return time.Duration(turns.SpreadOf(all).Median) }
	both, copied, computed := median(times), median(copies), median(computes)
	bytes := float64(len(in.Tensors[0].Data))
	l.found(line{Finding: turns.Finding{What: what,
		Measured: fmt.Sprintf("%v×; %s for both, %s to copy %.0f MB (%.3g GB/s), %s to compute", r, short(both), short(copied), bytes/1e6, giga(bytes, copied), short(computed)),
		Target:   target, Verdict: turns.Judge(r.Median <= 1.1)},
		Figures: numbers("ratio", r.Median, "least", r.Least, "most", r.Most, "both_us", micro(both), "copy_us", micro(copied), "compute_us", micro(computed))})
	return nil
}

// copying returns what copying a batch takes, and each layer that computes with it.
func (l *lab) copying(ctx context.Context, rows int) (alone, layer time.Duration, err error) {
	var computed [2]time.Duration
	depths := [2]int{1, l.deepest / 2}
	for i, depth := range depths {
		m, err := l.load(ctx, forms.Copied{Side: l.copied, Depth: depth}, "bf16", rows)
		if err != nil {
			return 0, 0, err
		}
		in, end := l.shared(m.form.Batch(rows))
		if err = fill(ctx, m, in); err == nil {
			computed[i], err = l.replayed(ctx, m, rows)
		}
		end()
		if closed := m.Close(); err == nil {
			err = closed
		}
		if err != nil {
			return 0, 0, err
		}
	}
	m, err := l.load(ctx, forms.Copied{Side: l.copied}, "bf16", rows)
	if err != nil {
		return 0, 0, err
	}
	defer m.Close()
	in, end := l.shared(m.form.Batch(rows))
	defer end()
	t, err := streamed(ctx, m, in)(l.Length)
	if err != nil {
		return 0, 0, err
	}
	return t.Clock / time.Duration(t.Runs), (computed[1] - computed[0]) / time.Duration(max(depths[1]-depths[0], 1)), nil
}

// streamed is the side of batches of which two are under way.
func streamed(ctx context.Context, m loaded, in backends.Batch) turns.Side {
	return func(length time.Duration) (turns.Timing, error) {
		began := time.Now()
		n, err := together(ctx, m, in, length)
		return turns.Timing{Runs: n, Clock: time.Since(began)}, err
	}
}
