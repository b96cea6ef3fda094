package ml

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/thrumserve/thrum/backends/cpu/kernels"
)

func BenchmarkForest(b *testing.B) {
	for _, p := range []plan{
		{trees: 500, depth: 6, features: 28, targets: 1, shape: "full", single: true, modes: 1},
		{trees: 500, depth: 6, features: 28, targets: 1, shape: "full", single: true, modes: 1, limits: 256},
		{trees: 1000, depth: 8, features: 28, targets: 1, shape: "full", single: true, modes: 1},
		{trees: 1000, depth: 8, features: 28, targets: 1, shape: "full", single: true, modes: 1, limits: 256},
	} {
		r := rand.New(rand.NewPCG(1, 2))
		e := grow[float32](r, p)
		for _, l := range kernels.Levels() {
			if err := kernels.SetLevel(l); err != nil {
				b.Fatal(err)
			}
			f, err := e.Forest(1)
			if err != nil {
				b.Fatal(err)
			}
			m, _ := NewRegressor(f, Sum, nil, NoTransform)
			x := matrix[float32](r, p, 1<<16, 0)
			for _, rows := range []int{1, 8, 32, 100, 1000} {
				b.Run(fmt.Sprintf("%dx%d/limits=%d/%v/%d", p.trees, p.depth, p.limits, l, rows), func(b *testing.B) {
					got, from := make([]float32, rows), 0
					runtime.LockOSThread()
					before := threadTime(b)
					for b.Loop() {
						if from += rows * p.features; from+rows*p.features > len(x) {
							from = 0
						}
						if err := m.Predict(x[from:][:rows*p.features], p.features, got, inTurn); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric((threadTime(b)-before).Seconds()*1e6/float64(b.N)/float64(rows), "cpu-µs/row")
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(rows)/1e3, "µs/row")
				})
			}
		}
	}
}

// threadTime returns the processor time that the calling thread has used, which neighbours on the
// same processor lengthen less than the time on the clock.
func threadTime(b *testing.B) time.Duration {
	const rusageThread = 1
	var usage syscall.Rusage
	if err := syscall.Getrusage(rusageThread, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
