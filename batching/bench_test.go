package batching

import (
	"context"
	"runtime"
	"testing"

	"github.com/thrumserve/thrum/backends"
)

// BenchmarkBatcher measures what the batcher costs a call. A lone caller runs its call in its
// own goroutine, in front of a predictor that does nothing; a crowd is batched in front of one
// that only yields the processor, so that the rest of the crowd can queue.
func BenchmarkBatcher(b *testing.B) {
	sig := backends.Signature{
		Batched: true,
		Inputs:  []backends.TensorSpec{{Name: "x", Datatype: backends.FP32, Shape: []int64{-1, 4}}},
		Outputs: []backends.TensorSpec{{Name: "x", Datatype: backends.FP32, Shape: []int64{-1, 4}}},
	}
	null := func(_ context.Context, in backends.Batch) (backends.Batch, error) { return in, nil }
	yield := func(_ context.Context, in backends.Batch) (backends.Batch, error) {
		runtime.Gosched()
		return in, nil
	}
	in := backends.Batch{Tensors: []backends.Tensor{
		{Name: "x", Datatype: backends.FP32, Shape: []int64{1, 4}, Data: make([]byte, 16)},
	}}
	for _, test := range []struct {
		name    string
		callers int // per processor
		next    backends.PredictorFunc
	}{
		{"lone", 1, null},
		{"crowd", 64, yield},
	} {
		b.Run(test.name, func(b *testing.B) {
			batcher, err := New(test.next, sig, Options{MaxRows: 32, MaxQueueRows: 4096, Inflight: 1})
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			b.ReportAllocs()
			b.SetParallelism(test.callers)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := batcher.Predict(ctx, in); err != nil {
						b.Error(err)
					}
				}
			})
			s := batcher.Stats()
			b.ReportMetric(float64(s.Rows)/float64(s.Batches), "rows/batch")
		})
	}
}
