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

// What computes products: values of the backend's option.
const (
	byKernels = "kernels"
	byLibrary = "cublaslt"
)

// peaks is what the device does at best: the reference of the other rates.
type peaks struct {
	kernels, library float64 // multiplications and additions per second in a large product; 0 without a library
	bytes            float64 // per second
	without          string  // why there is no library
}

// operations is the better rate of products.
func (p peaks) operations() float64 { return max(p.kernels, p.library) }

// device measures the peaks.
func (l *lab) device(ctx context.Context) error {
	p, err := l.peaks(ctx)
	if err != nil {
		return l.failed("the device's best", "", err)
	}
	library := "cuBLASLt is not measured: " + p.without
	if p.library > 0 {
		library = fmt.Sprintf("%.4g by cuBLASLt", p.library/1e12)
	}
	l.found(line{Finding: turns.Finding{What: "the device's best through this backend",
		Measured: fmt.Sprintf("%d³ in bf16: %.4g TFLOPS by kernels, %s; %.4g GB/s in an addition to %s", l.side, p.kernels/1e12, library, p.bytes/1e9, l.addition().Name)},
		Figures: numbers("kernels_tflops", p.kernels/1e12, "cublaslt_tflops", p.library/1e12, "gb_per_s", p.bytes/1e9)})
	return nil
}

// peaks measures a large product by both ways, and an addition to more than caches hold.
func (l *lab) peaks(ctx context.Context) (p peaks, err error) {
	best := forms.Products(backends.BF16, l.side, l.side, l.side, 2)
	each, err := l.chain(ctx, best, byKernels)
	if err != nil {
		return p, err
	}
	p.kernels = best.Operations / each.Seconds()
	if each, err = l.chain(ctx, best, byLibrary); err == nil {
		p.library = best.Operations / each.Seconds()
	} else {
		p.without = oneLine(err.Error())
	}
	sum := l.addition()
	if each, err = l.chain(ctx, sum, byKernels); err != nil {
		return p, err
	}
	p.bytes = sum.Bytes / each.Seconds()
	return p, nil
}

// addition is the last of the chains.
func (l *lab) addition() forms.Chain { return l.chains[len(l.chains)-1] }

// chain returns what one operation of a chain takes.
func (l *lab) chain(ctx context.Context, c forms.Chain, by string) (time.Duration, error) {
	precision := "bf16"
	if c.Float == backends.FP16 {
		precision = "fp16"
	}
	m, err := l.loadBy(ctx, c, map[string]string{"precision": precision, "products": by}, 1)
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

// kernels measures single operations, chained, beside the peaks, and those that the library has by it, too.
func (l *lab) kernels(ctx context.Context) error {
	p, err := l.peaks(ctx)
	if err != nil {
		return l.failed("single operations", "", err)
	}
	all := []error{}
	for _, c := range l.chains {
		what := fmt.Sprintf("%s in %v, %d after each other", c.Name, c.Float, c.Times)
		each, err := l.chain(ctx, c, byKernels)
		if err != nil {
			all = append(all, l.failed(what, "", err))
			continue
		}
		f := line{Finding: turns.Finding{What: what, Measured: p.text(each, c.Operations, c.Bytes)}, Figures: p.figures(each, c.Operations, c.Bytes)}
		if c.Multiplies && p.library > 0 {
			other, err := l.chain(ctx, c, byLibrary)
			if err != nil {
				all = append(all, l.failed(what+" by cuBLASLt", "", err))
			} else {
				f.Measured += "; by cuBLASLt " + p.text(other, c.Operations, c.Bytes)
				f.Figures["cublaslt_us"] = micro(other)
			}
		}
		l.found(f)
	}
	return errors.Join(all...)
}

// text writes a time with the rates that count for it.
func (p peaks) text(took time.Duration, operations, bytes float64) string {
	text := short(took)
	if operations > 0 {
		text += fmt.Sprintf(", %.4g TFLOPS (%.0f %%)", tera(operations, took), 100*operations/took.Seconds()/p.operations())
	}
	if bytes > 0 {
		text += fmt.Sprintf(", %.4g GB/s (%.0f %%)", giga(bytes, took), 100*bytes/took.Seconds()/p.bytes)
	}
	return text
}

func (p peaks) figures(took time.Duration, operations, bytes float64) map[string]float64 {
	return numbers("us", micro(took), "tflops", tera(operations, took), "of_peak", operations/took.Seconds()/p.operations(), "gb_per_s", giga(bytes, took), "of_bandwidth", bytes/took.Seconds()/p.bytes)
}
