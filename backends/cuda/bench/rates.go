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

// peaks is what the device does at best, as this backend does it: the reference of the other rates.
type peaks struct{ operations, bytes float64 } // per second

// device measures the peaks.
func (l *lab) device(ctx context.Context) error {
	p, err := l.peaks(ctx)
	if err != nil {
		return l.failed("the device's best", "", err)
	}
	l.found(line{Finding: turns.Finding{What: "the device's best, as this backend does it",
		Measured: fmt.Sprintf("%.4g TFLOPS in a product of %d³ in bf16, %.4g GB/s in an addition to %s", p.operations/1e12, l.side, p.bytes/1e9, l.addition().Name)},
		Figures: numbers("tflops", p.operations/1e12, "gb_per_s", p.bytes/1e9)})
	return nil
}

// peaks measures a large product, and an addition to more than caches hold.
func (l *lab) peaks(ctx context.Context) (p peaks, err error) {
	best := forms.Products(backends.BF16, l.side, l.side, l.side, 2)
	each, err := l.chain(ctx, best)
	if err != nil {
		return p, err
	}
	p.operations = best.Operations / each.Seconds()
	sum := l.addition()
	if each, err = l.chain(ctx, sum); err != nil {
		return p, err
	}
	p.bytes = sum.Bytes / each.Seconds()
	return p, nil
}

// addition is the last of the chains.
func (l *lab) addition() forms.Chain { return l.chains[len(l.chains)-1] }

// chain returns what one operation of a chain takes.
func (l *lab) chain(ctx context.Context, c forms.Chain) (time.Duration, error) {
	precision := "bf16"
	if c.Float == backends.FP16 {
		precision = "fp16"
	}
	m, err := l.load(ctx, c, precision, 1)
	if err != nil {
		return 0, err
	}
	defer m.Close()
	if err := fill(ctx, m, c.Batch(1)); err != nil {
		return 0, err
	}
	each, err := l.replayed(ctx, m, 1)
	return each / time.Duration(c.Times), err
}

// kernels measures single operations, chained, beside the peaks.
func (l *lab) kernels(ctx context.Context) error {
	p, err := l.peaks(ctx)
	if err != nil {
		return l.failed("single operations", "", err)
	}
	all := []error{}
	for _, c := range l.chains {
		what := fmt.Sprintf("%s in %v, %d after each other", c.Name, c.Float, c.Times)
		each, err := l.chain(ctx, c)
		if err != nil {
			all = append(all, l.failed(what, "", err))
			continue
		}
		l.found(line{Finding: turns.Finding{What: what, Measured: p.text(each, c.Operations, c.Bytes)}, Figures: p.figures(each, c.Operations, c.Bytes)})
	}
	return errors.Join(all...)
}

// text writes a time with the rates that count for it.
func (p peaks) text(took time.Duration, operations, bytes float64) string {
	text := short(took)
	if operations > 0 {
		text += fmt.Sprintf(", %.4g TFLOPS (%.0f %%)", tera(operations, took), 100*operations/took.Seconds()/p.operations)
	}
	if bytes > 0 {
		text += fmt.Sprintf(", %.4g GB/s (%.0f %%)", giga(bytes, took), 100*bytes/took.Seconds()/p.bytes)
	}
	return text
}

func (p peaks) figures(took time.Duration, operations, bytes float64) map[string]float64 {
	return numbers("us", micro(took), "tflops", tera(operations, took), "of_peak", operations/took.Seconds()/p.operations, "gb_per_s", giga(bytes, took), "of_bandwidth", bytes/took.Seconds()/p.bytes)
}
