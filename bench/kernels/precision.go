package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
	"github.com/thrumserve/thrum/bench/peers/engine"
	"github.com/thrumserve/thrum/bench/turns"
)

// layer is the product of which the share of what registers can do is told.
var layer = size{384, 768, 3072}

// The shares that have to be reached of a loop of AMX; they stand for the loops of other
// instructions as well, which memory slows down less.
const (
	shareBF16 = 0.45
	shareInt8 = 0.40
)

// bf16 compares a product of bfloat16 with what registers can do.
func (l *lab) bf16(context.Context) ([]turns.Finding, error) {
	all := withoutAMX("bf16", shareBF16)
	_, pairs, _ := instructions()
	if !pairs.has {
		return all, nil
	}
	s := layer
	x, w := values(s.m*s.k), values(s.k*s.n)
	y, exact := make([]float32, s.m*s.n), make([]float32, s.m*s.n)
	for threads := 1; threads <= 2; threads++ {
		pool := kernels.NewPool(threads)
		defer pool.Close()
		kernels.Gemm(pool, s.m, x, s.k, kernels.PackB(s.matrix(w), kernels.FP32), exact, s.n, kernels.Epilogue{})
		packed := kernels.PackB(s.matrix(w), kernels.BF16)
		share, r, err := l.share(pool, s, pairs, func() error {
			kernels.Gemm(pool, s.m, x, s.k, packed, y, s.n, kernels.Epilogue{})
			return nil
		})
		if err != nil {
			return all, err
		}
		all = append(all, turns.Finding{
			What:     fmt.Sprintf("bf16 GEMM %v beside %s in registers, threads: %d", s, pairs.name, threads),
			Measured: fmt.Sprintf("%v; %.0f GFLOPS, float32 in and out; relative error %.1e", share, s.operations()/float64(r.Own), relativeError(y, exact)),
			Target:   fmt.Sprintf("≥ %.2f", shareBF16), Verdict: turns.AtLeast(share.clock, shareBF16),
		})
	}
	return all, nil
}

func (s size) matrix(data []float32) kernels.Matrix {
	return kernels.Matrix{Data: data, K: s.k, N: s.n, Stride: s.n}
}

// withoutAMX says of a processor without tiles what it cannot be held to.
func withoutAMX(precision string, share float64) []turns.Finding {
	if kernels.Best() >= kernels.AMX {
		return nil
	}
	return []turns.Finding{{What: precision + " GEMM " + layer.String() + " beside AMX in registers", Measured: "not measured: no AMX",
		Target: fmt.Sprintf("≥ %.2f", share), Verdict: turns.NotMeasured}}
}

// share is which part of the rate of a loop a product has.
type share struct{ clock, cpu turns.Spread }

// String returns the share as it is told.
func (s share) String() string {
	return fmt.Sprintf("%v of its rate, in processor time %.2f", s.clock, s.cpu.Median)
}

// share compares a product with a loop of an instruction.
func (l *lab) share(pool *kernels.Pool, s size, i instruction, work func() error) (share, turns.Result, error) {
	loop, operations := i.side(pool)
	r, err := l.Compare(turns.Own(work), loop)
	part := s.operations() / operations
	return share{r.Clock.Times(part), r.CPU.Times(part)}, r, err
}

// relativeError returns the norm of the difference as a part of the norm.
func relativeError(y, exact []float32) float64 {
	var difference, whole float64
	for i := range y {
		d := float64(y[i]) - float64(exact[i])
		difference, whole = difference+d*d, whole+float64(exact[i])*float64(exact[i])
	}
	return math.Sqrt(difference / whole)
}

// int8 compares products of uint8 and int8 with ONNX Runtime's, and one with what registers can do.
func (l *lab) int8(ctx context.Context) (all []turns.Finding, err error) {
	peer, err := l.python(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, peer.Close()) }()
	for threads := 1; threads <= 2; threads++ {
		pool := kernels.NewPool(threads)
		defer pool.Close()
		for _, m := range []int{1, 8, 32, 384} {
			f, err := l.bytes(pool, peer, size{m, layer.k, layer.n})
			if err != nil {
				return all, err
			}
			all = append(all, f)
		}
	}
	more, err := l.bytesShare()
	return append(all, more...), err
}

// product is one of bytes.
type product struct {
	size
	x, w []byte
	y    []int32
	gemm kernels.ByteGemm
}

func newProduct(s size) *product {
	random := rand.New(rand.NewPCG(2, uint64(s.m)))
	fill := func(n int) []byte {
		all := make([]byte, n)
		for i := range all {
			all[i] = byte(random.Uint32())
		}
		return all
	}
	p := &product{size: s, x: fill(s.m * s.k), w: fill(s.k * s.n), y: make([]int32, s.m*s.n)}
	weights := kernels.Bytes{Data: p.w, Stride: s.n, Signed: true}
	p.gemm = kernels.ByteGemm{M: s.m, A: kernels.Bytes{Data: p.x, Stride: s.k}, B: kernels.PackBytes(weights, s.k, s.n, false)}
	return p
}

// on is the work on the threads of a pool.
func (p *product) on(pool *kernels.Pool) func() error {
	return func() error {
		p.gemm.Int32(pool, p.y, p.n)
		return nil
	}
}

// bytes compares one product, bit by bit.
func (l *lab) bytes(pool *kernels.Pool, peer *engine.Process, s size) (turns.Finding, error) {
	p := newProduct(s)
	about, err := peer.Load(engine.Load{Engine: engine.OnnxRuntime, Threads: pool.Threads(), Precision: "fp32",
		Product: &engine.Product{M: s.m, K: s.k, N: s.n, Weights: p.w, Integer: true},
		Inputs:  []backends.Tensor{{Name: "x", Datatype: backends.Uint8, Shape: []int64{int64(s.m), int64(s.k)}, Data: p.x}}})
	if err != nil {
		return turns.Finding{}, err
	}
	r, err := l.Compare(turns.Own(p.on(pool)), peer.Run)
	if err != nil {
		return turns.Finding{}, err
	}
	outputs, err := peer.Outputs()
	if err != nil {
		return turns.Finding{}, err
	}
	equal := slices.Equal(bytesOf(p.y), outputs[0].Data)
	rate := func(ns float64) float64 { return s.operations() / ns }
	f := turns.Finding{
		What:     fmt.Sprintf("int8 GEMM %v beside %s, threads: %d", s, about, pool.Threads()),
		Measured: fmt.Sprintf("%v; %.0f beside %.0f G operations/s; equal to the bit: %t", r, rate(float64(r.Own)), rate(float64(r.Other)), equal),
		Target:   "≥ 1.20×, equal", Verdict: turns.Judge(r.Clock.Median >= 1.2 && equal),
	}
	if s != layer {
		f.Target, f.Verdict = "", turns.None
	}
	return f, nil
}

// bytesShare is the part of the rate of registers that a product of bytes has.
func (l *lab) bytesShare() ([]turns.Finding, error) {
	all := withoutAMX("int8", shareInt8)
	_, _, quads := instructions()
	if !quads.has {
		return all, nil
	}
	for threads := 1; threads <= 2; threads++ {
		pool := kernels.NewPool(threads)
		defer pool.Close()
		share, r, err := l.share(pool, layer, quads, newProduct(layer).on(pool))
		if err != nil {
			return all, err
		}
		all = append(all, turns.Finding{
			What:     fmt.Sprintf("int8 GEMM %v beside %s in registers, threads: %d", layer, quads.name, threads),
			Measured: fmt.Sprintf("%v; %.0f G operations/s", share, layer.operations()/float64(r.Own)),
			Target:   fmt.Sprintf("≥ %.2f", shareInt8), Verdict: turns.AtLeast(share.clock, shareInt8),
		})
	}
	return all, nil
}
