// Command thrum-backend-example is a whole backend in some twenty lines: its models give the
// mean of each row. See docs/plugins.md.
package main

import (
	"context"
	"encoding/binary"
	"math"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/plugins"
)

type mean struct{} // both the backend and its models: there is nothing to remember

func (mean) Info(context.Context) (backends.Info, error) {
	return backends.Info{Name: "example", Version: "1.0", Device: "any processor"}, nil
}

func (m mean) Load(_ context.Context, spec backends.Spec) (backends.Model, error) {
	if len(spec.Options) > 0 {
		return nil, backends.Errorf(backends.ErrInvalid, "options %v: this backend has none", spec.Options)
	}
	return m, nil
}

func (mean) Signature() backends.Signature {
	x := backends.TensorSpec{Name: "x", Datatype: backends.FP32, Shape: []int64{-1, -1}}
	y := backends.TensorSpec{Name: "mean", Datatype: backends.FP32, Shape: []int64{-1, 1}}
	return backends.Signature{Inputs: []backends.TensorSpec{x}, Outputs: []backends.TensorSpec{y}, Batched: true}
}

func (mean) Predict(_ context.Context, in backends.Batch) (backends.Batch, error) {
	x, means := in.Tensors[0], make([]float32, in.Rows())
	for i := range x.Elements() {
		value := math.Float32frombits(binary.LittleEndian.Uint32(x.Data[4*i:]))
		means[i/x.Shape[1]] += value / float32(x.Shape[1])
	}
	data, err := binary.Append(nil, binary.LittleEndian, means)
	y := backends.Tensor{Name: "mean", Datatype: backends.FP32, Shape: []int64{int64(in.Rows()), 1}, Data: data}
	return backends.Batch{Tensors: []backends.Tensor{y}}, err
}

func (mean) Close() error { return nil }

func main() { plugins.Serve(mean{}) }
