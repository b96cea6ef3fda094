//go:build cuda

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"

	"github.com/thrumserve/thrum/backends"
)

// precisions are what models are checked in, and how far from the cpu backend they may be.
var precisions = []struct {
	name      string
	tolerance float64
}{{"fp32", 3e-4}, {"tf32", 2e-2}, {"fp16", 3e-2}, {"bf16", 0.2}, {"int8", 3e-2}}

// models compares the whole models of a folder, for several numbers of rows. Those that choose among
// classes are compared in FP32 alone, and those whose name says that they are quantised, which round to
// a few steps, in FP32 and products of eight bits.
func (c *checking) models(folder string) {
	dirs, err := filepath.Glob(filepath.Join(folder, "*", "model.onnx"))
	if err != nil || len(dirs) == 0 {
		c.found("models", fmt.Errorf("there are none in %s", folder), true)
	}
	for _, file := range dirs {
		for _, p := range precisions {
			dir := filepath.Dir(file)
			c.model(subject{dir: dir, name: filepath.Base(dir)}, p.name, p.tolerance)
		}
	}
}

// subject is a model that is checked.
type subject struct {
	dir, name string
	rows      func(n int) backends.Batch // inputs; any that its signature allows if nil
}

func (c *checking) model(s subject, precision string, tolerance float64) {
	r, err := c.reference.Load(context.Background(), backends.Spec{Dir: s.dir})
	if err != nil {
		c.found(s.name, err, true)
		return
	}
	defer r.Close()
	integers := slices.ContainsFunc(r.Signature().Outputs, func(s backends.TensorSpec) bool { return s.Datatype != backends.FP32 })
	quantized := strings.HasPrefix(s.name, "quantized")
	if precision != "fp32" && (integers || quantized != (precision == "int8")) {
		return
	}
	if quantized { // sums that lie between two steps may be rounded to either
		tolerance = max(tolerance, 3e-2)
	}
	for _, products := range c.products {
		c.answers(s, r, map[string]string{"precision": precision, "products": products}, tolerance)
	}
}

// answers compares a model that is loaded with options.
func (c *checking) answers(s subject, r backends.Model, options map[string]string, tolerance float64) {
	name := fmt.Sprintf("%s in %s by %s", s.name, options["precision"], options["products"])
	if !c.begin(name) {
		return
	}
	ctx := context.Background()
	m, err := c.device.Load(ctx, backends.Spec{Dir: s.dir, MaxRows: c.rows, Options: options})
	if err != nil {
		c.found(name, err, true)
		return
	}
	defer m.Close()
	for _, rows := range []int{1, 3, c.rows, c.rows * 3 / 2} {
		in := random(r.Signature(), int64(rows))
		if s.rows != nil {
			in = s.rows(rows)
		}
		c.found(fmt.Sprintf("%s, %d rows", name, rows), compare(ctx, m, r, in, tolerance), true)
	}
}

func compare(ctx context.Context, m, reference backends.Model, in backends.Batch, tolerance float64) error {
	want, err := reference.Predict(ctx, in)
	if err != nil {
		return err
	}
	defer want.Release()
	got, err := m.Predict(ctx, in)
	if err != nil {
		return err
	}
	defer got.Release()
	var all []error
	for i := range want.Tensors {
		all = append(all, near(got.Tensors[i], want.Tensors[i], tolerance))
	}
	return errors.Join(all...)
}

// random returns a batch for a model: numbers around zero, and small integers, which are of rows of
// any table.
func random(s backends.Signature, rows int64) backends.Batch {
	const varies = 17
	in := backends.Batch{}
	for _, spec := range s.Inputs {
		t := backends.Tensor{Name: spec.Name, Datatype: spec.Datatype, Shape: slices.Clone(spec.Shape)}
		for i, n := range t.Shape {
			if n < 0 {
				t.Shape[i] = varies
			}
		}
		t.Shape[0] = rows
		for range t.Elements() {
			switch spec.Datatype {
			case backends.Int64:
				n := uint64(rand.IntN(7))
				if spec.Name == "mask" {
					n = 1
				}
				t.Data = binary.LittleEndian.AppendUint64(t.Data, n)
			default:
				t.Data = binary.LittleEndian.AppendUint32(t.Data, math.Float32bits(float32(rand.NormFloat64())))
			}
		}
		in.Tensors = append(in.Tensors, t)
	}
	return in
}

// near says where two tensors differ by more than a tolerance, absolute and relative.
func near(got, want backends.Tensor, tolerance float64) error {
	if got.Datatype != want.Datatype || !slices.Equal(got.Shape, want.Shape) {
		return fmt.Errorf("%v %v, want %v %v", got.Datatype, got.Shape, want.Datatype, want.Shape)
	}
	if want.Datatype == backends.Bytes {
		if !bytes.Equal(got.Data, want.Data) {
			return fmt.Errorf("%q is %q, want %q", want.Name, got.Data, want.Data)
		}
		return nil
	}
	a, b := numbers(got), numbers(want)
	for i := range b {
		if a[i] != b[i] && (a[i] == a[i] || b[i] == b[i]) && !(math.Abs(a[i]-b[i]) <= tolerance*(1+math.Abs(b[i]))) {
			return fmt.Errorf("element %d of %q is %v, want %v", i, want.Name, a[i], b[i])
		}
	}
	return nil
}

// numbers returns the elements of a tensor of floating point or integers.
func numbers(t backends.Tensor) []float64 {
	var all []float64
	for data := t.Data; len(data) > 0; data = data[t.Datatype.Size():] {
		var v float64
		switch t.Datatype {
		case backends.Bool, backends.Uint8:
			v = float64(data[0])
		case backends.Int8:
			v = float64(int8(data[0]))
		case backends.FP16:
			v = half(binary.LittleEndian.Uint16(data))
		case backends.BF16:
			v = float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(data)) << 16))
		case backends.Int32:
			v = float64(int32(binary.LittleEndian.Uint32(data)))
		case backends.Int64:
			v = float64(int64(binary.LittleEndian.Uint64(data)))
		case backends.FP32:
			v = float64(math.Float32frombits(binary.LittleEndian.Uint32(data)))
		}
		all = append(all, v)
	}
	return all
}

// half returns the value of an FP16.
func half(h uint16) float64 {
	exponent, mantissa, sign := int(h>>10&31), float64(h&1023), 1-2*float64(h>>15)
	switch exponent {
	case 0:
		return sign * math.Ldexp(mantissa, -24)
	case 31:
		if mantissa != 0 {
			return math.NaN()
		}
		return math.Inf(int(sign))
	}
	return sign * math.Ldexp(1024+mantissa, exponent-25)
}
