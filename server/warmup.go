package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/server/catalog"
	"github.com/thrumserve/thrum/server/config"
	"github.com/thrumserve/thrum/server/golden"
)

// warmUp runs a version before it takes traffic: its golden set, which it must answer as the
// reference did, or, where there is none, a batch of zeros. It returns how near the answers were
// to the reference's, nil where there are none to compare with.
func (l *loader) warmUp(ctx context.Context, dir string, cfg config.Model, model backends.Model) (*catalog.Accuracy, error) {
	set, err := golden.Read(dir)
	if err != nil {
		return nil, err
	}
	if len(set.Cases) > 0 {
		a, err := set.Check(ctx, model.Signature(), model, limitsOf(cfg.Golden, model.Signature().Precision))
		return &a, err
	}
	if cfg.Golden != nil {
		return nil, backends.Errorf(backends.ErrInvalid, "model.yaml: golden does nothing: there is no golden set, %s: leave it out", filepath.Join(dir, golden.File))
	}
	return nil, l.runZeros(ctx, model)
}

// limitsOf returns the limits of a precision with those that a model sets itself.
func limitsOf(own *config.Golden, precision string) golden.Limits {
	limits := golden.LimitsAt(precision)
	if own == nil {
		return limits
	}
	for _, l := range []struct{ to, from *float64 }{{&limits.MinCosine, own.MinCosine}, {&limits.MinEqual, own.MinEqual}, {&limits.MinTop1, own.MinTop1}} {
		if l.from != nil {
			*l.to = *l.from
		}
	}
	return limits
}

// runZeros runs a batch of zeros, which pays for what a first run pays for and may be an input
// that the model has no answer to.
func (l *loader) runZeros(ctx context.Context, model backends.Model) error {
	row, err := zeros(model.Signature(), l.maxBody)
	if err != nil {
		return err
	}
	answer, err := model.Predict(ctx, row)
	if err != nil && !errors.Is(err, backends.ErrInvalid) {
		return fmt.Errorf("warm-up: %w", err)
	}
	answer.Release()
	return nil
}

// zeros returns one row that fits sig, every dimension that varies being 1. The dimensions are
// the model's own word: a row of more than maxBytes, which no request could bring, is an
// ErrInvalid.
func zeros(sig backends.Signature, maxBytes int64) (backends.Batch, error) {
	var in backends.Batch
	left := maxBytes
	for _, spec := range sig.Inputs {
		t := backends.Tensor{Name: spec.Name, Datatype: spec.Datatype, Shape: slices.Clone(spec.Shape)}
		for i, d := range t.Shape {
			if d < 0 {
				t.Shape[i] = 1
			}
		}
		size := int64(cmp.Or(spec.Datatype.Size(), len(backends.AppendBytesElement(nil, nil))))
		n := t.Elements()
		if n < 0 || n > left/size {
			return backends.Batch{}, backends.Errorf(backends.ErrInvalid,
				"one row of its inputs, with input %q of shape %v, is larger than any request may be (limits.max_body, %d bytes)", spec.Name, spec.Shape, maxBytes)
		}
		t.Data = make([]byte, n*size)
		left -= n * size
		in.Tensors = append(in.Tensors, t)
	}
	return in, nil
}
