package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/thrumserve/thrum/backends/cpu/kernels"
	"github.com/thrumserve/thrum/backends/cpu/kernels/peak"
	"github.com/thrumserve/thrum/bench/turns"
)

// instruction is one that multiplies, and the loop in which it does nothing else.
type instruction struct {
	name string
	loop func(n int) (operations int)
	has  bool // whether this processor has it
}

func instructions() (fma, bf16, bytes instruction) {
	has := func(l kernels.Level) bool { return slices.Contains(kernels.Levels(), l) }
	wide := has(kernels.AVX512)
	fma = instruction{"VFMADD231PS", func(n int) int { return peak.Loop(wide, n) }, has(kernels.AVX2)}
	if has(kernels.AMX) {
		const slower = 8 // a round of tiles takes as much longer
		return fma,
			instruction{"TDPBF16PS", func(n int) int { return peak.PairTiles(n / slower) }, true},
			instruction{"TDPBSUD", func(n int) int { return peak.ByteTiles(n / slower) }, true}
	}
	return fma,
		instruction{"VDPBF16PS", peak.Pairs, has(kernels.AVX512BF16)},
		instruction{"VPDPBUSD", peak.Bytes, has(kernels.AVX512VNNI)}
}

// side is the loop as a side of a comparison, on every thread of the pool. A run of it is the
// returned number of operations.
func (i instruction) side(pool *kernels.Pool) (turns.Side, float64) {
	const turn = 20_000
	var operations atomic.Int64
	work := func() error {
		operations.Store(0)
		pool.For(pool.Threads(), 1, func(lo, hi int) {
			for range hi - lo {
				operations.Add(int64(i.loop(turn)))
			}
		})
		return nil
	}
	if err := work(); err != nil {
		panic(err) // there is none
	}
	return turns.Own(work), float64(operations.Load())
}

// best returns operations per nanosecond: the best of some tries, which nobody has interrupted.
func (i instruction) best(pool *kernels.Pool) float64 {
	side, operations := i.side(pool)
	best := 0.0
	for range 10 {
		t, err := side(5 * time.Millisecond)
		if err != nil {
			panic(err) // there is none
		}
		best = max(best, operations*float64(t.Runs)/float64(t.Clock))
	}
	return best
}

// calibration is what the processor can do at best, on one thread and on two.
func (l *lab) calibration(context.Context) ([]turns.Finding, error) {
	var all []turns.Finding
	fma, bf16, bytes := instructions()
	pools := [2]*kernels.Pool{kernels.NewPool(1), kernels.NewPool(2)}
	for _, i := range []instruction{fma, bf16, bytes} {
		f := turns.Finding{What: i.name + " in registers, 1 and 2 threads", Measured: "not measured: this processor has none"}
		if i.has {
			f.Measured = fmt.Sprintf("%.0f, %.0f G operations/s", i.best(pools[0]), i.best(pools[1]))
		}
		all = append(all, f)
	}
	memory := make([]float32, 256<<20)
	for i := range memory {
		memory[i] = 1
	}
	for _, part := range []struct {
		what   string
		memory []float32
	}{{"1 GiB", memory}, {"2.1 MB, the weights of a perceptron 784-512-256-10,", memory[:784*512+512*256+256*10]}} {
		all = append(all, turns.Finding{What: "reading " + part.what + " in order, 1 and 2 threads",
			Measured: fmt.Sprintf("%.1f, %.1f GB/s", stream(pools[0], part.memory), stream(pools[1], part.memory))})
	}
	return all, nil
}

// stream returns bytes per nanosecond of reading memory in order.
func stream(pool *kernels.Pool, memory []float32) float64 {
	const part, enough = 1 << 14, 50 * time.Millisecond
	sums := make([]float32, len(memory)/part)
	best := math.Inf(1)
	for i, start := 0, time.Now(); i < 3 || time.Since(start) < enough; i++ {
		began := time.Now()
		pool.For(len(sums), 1, func(lo, hi int) { kernels.SumRows(sums[lo:hi], memory[lo*part:hi*part], part) })
		best = min(best, float64(time.Since(began)))
	}
	return float64(4*len(sums)*part) / best
}
