package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"unsafe"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
	"github.com/thrumserve/thrum/bench/peers/engine"
	"github.com/thrumserve/thrum/bench/turns"
)

// size is that of a product of M x K by K x N.
type size struct{ m, k, n int }

func (s size) String() string      { return fmt.Sprintf("%d×%d×%d", s.m, s.k, s.n) }
func (s size) operations() float64 { return 2 * float64(s.m) * float64(s.k) * float64(s.n) }

// sizes are the layers of BERT-base, for batches of one token to many, and one of another model.
func sizes() []size {
	var all []size
	for _, layer := range [][2]int{{768, 768}, {768, 3072}, {3072, 768}} {
		for _, m := range []int{1, 8, 32, 128, 384} {
			all = append(all, size{m, layer[0], layer[1]})
		}
	}
	return append(all, size{384, 1024, 1024})
}

// matmuls compares products of float32 with ONNX Runtime's.
func (l *lab) matmuls(ctx context.Context, threads int) (all []turns.Finding, err error) {
	pool := kernels.NewPool(threads)
	defer pool.Close()
	peer, err := l.python(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, peer.Close()) }()
	var clock, cpu float64 // sums of logarithms
	for _, s := range sizes() {
		finding, r, err := l.matmul(pool, peer, s)
		if err != nil {
			return all, fmt.Errorf("%v: %w", s, err)
		}
		all = append(all, finding)
		clock, cpu = clock+math.Log(r.Clock.Median), cpu+math.Log(r.CPU.Median)
	}
	n := float64(len(all))
	mean := math.Exp(clock / n)
	return append(all, turns.Finding{What: fmt.Sprintf("f32 MatMul, geometric mean, threads: %d", threads),
		Measured: fmt.Sprintf("%.2f×, CPU time %.2f×", mean, math.Exp(cpu/n)), Target: "≥ 1.00×", Verdict: turns.Judge(mean >= 1)}), nil
}

// matmul compares one product.
func (l *lab) matmul(pool *kernels.Pool, peer *engine.Process, s size) (turns.Finding, turns.Result, error) {
	x, w, y := values(s.m*s.k), values(s.k*s.n), make([]float32, s.m*s.n)
	packed := kernels.PackB(s.matrix(w), kernels.FP32)
	own := turns.Own(func() error {
		kernels.Gemm(pool, s.m, x, s.k, packed, y, s.n, kernels.Epilogue{})
		return nil
	})
	_, err := peer.Load(engine.Load{Engine: engine.OnnxRuntime, Threads: pool.Threads(), Precision: "fp32",
		Product: &engine.Product{M: s.m, K: s.k, N: s.n, Weights: bytesOf(w)}, Inputs: []backends.Tensor{
			{Name: "x", Datatype: backends.FP32, Shape: []int64{int64(s.m), int64(s.k)}, Data: bytesOf(x)}}})
	if err != nil {
		return turns.Finding{}, turns.Result{}, err
	}
	fma, _, _ := instructions()
	ceiling := fma.best(pool)
	r, err := l.Compare(own, peer.Run)
	if err != nil {
		return turns.Finding{}, turns.Result{}, err
	}
	difference, err := differs(y, peer)
	if err != nil {
		return turns.Finding{}, turns.Result{}, err
	}
	rate := func(ns float64) string {
		return fmt.Sprintf("%.0f GFLOPS (%.0f %%)", s.operations()/ns, 100*s.operations()/ns/ceiling)
	}
	return turns.Finding{
		What:     fmt.Sprintf("f32 MatMul %v beside ONNX Runtime, threads: %d", s, pool.Threads()),
		Measured: fmt.Sprintf("%v; %s beside %s of %.0f; differs by %.0e", r, rate(float64(r.Own)), rate(float64(r.Other)), ceiling, difference),
		Target:   "≥ 0.90×", Verdict: turns.AtLeast(r.Clock, 0.9),
	}, r, nil
}

// differs returns the largest difference between y and what the peer answers, as a part of the
// largest value. It is an error if that is more than rounding explains.
func differs(y []float32, peer *engine.Process) (float64, error) {
	outputs, err := peer.Outputs()
	if err != nil {
		return 0, err
	}
	other := floats(outputs[0].Data)
	if len(other) != len(y) {
		return 0, fmt.Errorf("%d values, the peer has %d", len(y), len(other))
	}
	most, largest := 0.0, 0.0
	for i := range y {
		most, largest = max(most, math.Abs(float64(y[i]-other[i]))), max(largest, math.Abs(float64(other[i])))
	}
	if part := most / largest; !(part <= 1e-5) {
		return 0, fmt.Errorf("the answers differ by %g of %g", most, largest)
	}
	return most / largest, nil
}

// values returns n numbers of the normal distribution, the same each time.
func values(n int) []float32 {
	random := rand.New(rand.NewPCG(1, uint64(n)))
	all := make([]float32, n)
	for i := range all {
		all[i] = float32(random.NormFloat64())
	}
	return all
}

func bytesOf[T any](all []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(all))), len(all)*int(unsafe.Sizeof(all[0])))
}

func floats(data []byte) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(data))), len(data)/4)
}
