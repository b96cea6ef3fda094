package batching

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thrumserve/thrum/backends"
)

var crashed = backends.Errorf(backends.ErrCrashed, "the plugin was killed by signal 11")

// poisonous fails a batch that holds a 13.
func poisonous(err error) func(in backends.Batch) (backends.Batch, error) {
	return func(in backends.Batch) (backends.Batch, error) {
		if slices.Contains(values(in.Tensors[0]), 13) {
			return backends.Batch{}, err
		}
		return double(in), nil
	}
}

func TestBatcherIsolatesTheCallAtFault(t *testing.T) {
	fault := errors.New("illegal instruction in node 7")
	for _, c := range []struct {
		situation string
		err       error
		batches   []int
	}{
		{"it ends its instance, and again when alone", crashed, []int{1, 3, 1, 1, 1, 1}},
		{"it fails", fault, []int{1, 3, 1, 1, 1}},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &model{takes: time.Millisecond, answer: poisonous(c.err)}
				b := start(t, m, doubler, Options{MaxRows: 8, MaxQueueRows: 8, Inflight: 1})
				send(t.Context(), b, request(0))
				one, bad, two := send(t.Context(), b, request(1)), send(t.Context(), b, request(13)), send(t.Context(), b, request(2))
				one.check(t, "one", 2)
				two.check(t, "two", 4)
				bad.fails(t, "bad", c.err)
				expectBatches(t, m, c.batches...)
			})
		})
	}
}

func TestBatcherSurvivesAnAccidentalDeath(t *testing.T) {
	for _, c := range []struct {
		situation string
		deaths    int32
		batches   []int
	}{
		{"of a batch", 1, []int{1, 2, 1, 1}},
		{"of a batch and of one of its calls after", 2, []int{1, 2, 1, 1, 1}},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var deaths atomic.Int32
				m := &model{takes: time.Millisecond, answer: func(in backends.Batch) (backends.Batch, error) {
					if values(in.Tensors[0])[0] > 0 && deaths.Add(1) <= c.deaths {
						return backends.Batch{}, crashed
					}
					return double(in), nil
				}}
				b := start(t, m, doubler, Options{MaxRows: 8, MaxQueueRows: 8, Inflight: 1})
				send(t.Context(), b, request(0))
				one, two := send(t.Context(), b, request(1)), send(t.Context(), b, request(2))
				one.check(t, "one", 2)
				two.check(t, "two", 4)
				expectBatches(t, m, c.batches...)
			})
		})
	}
}

func TestBatcherRetriesALoneCallOverWhichTheInstanceDiedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		died := false
		m := &model{answer: func(in backends.Batch) (backends.Batch, error) {
			if !died {
				died = true
				return backends.Batch{}, crashed
			}
			return double(in), nil
		}}
		b := start(t, m, doubler, Options{MaxRows: 8, MaxQueueRows: 8, Inflight: 1})
		send(t.Context(), b, request(4)).check(t, "lone", 8)
		expectBatches(t, m, 1, 1)
	})
}

// leased answers out of memory that it counts as lent until the last reader is done.
type leased struct {
	*model
	lent atomic.Int32
}

func (l *leased) Predict(ctx context.Context, in backends.Batch) (backends.Batch, error) {
	out, err := l.model.Predict(ctx, in)
	if err == nil {
		l.lent.Add(1)
		out.Lease = backends.NewLease(func() { l.lent.Add(-1) })
	}
	return out, err
}

func TestBatcherGivesBackWhatEveryReaderIsDoneWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &leased{model: &model{takes: 10 * time.Millisecond}}
		b, err := New(l, doubler, Options{MaxRows: 8, MaxQueueRows: 8, Inflight: 1})
		if err != nil {
			t.Fatal(err)
		}
		first := send(t.Context(), b, request(0))
		leaving, cancel := context.WithTimeout(t.Context(), 15*time.Millisecond)
		defer cancel()
		one, left, two := send(t.Context(), b, request(1)), send(leaving, b, request(2)), send(t.Context(), b, request(3))
		first.check(t, "first", 0)
		one.check(t, "one", 2)
		two.check(t, "two", 6)
		left.fails(t, "left", context.DeadlineExceeded)
		for i, want := range []int32{2, 1, 1, 0} {
			if got := l.lent.Load(); got != want {
				t.Errorf("before release %d: %d lent, want %d", i, got, want)
			}
			if answered := []*sent{first, one, two}; i < len(answered) {
				answered[i].out.Release()
			}
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestBatcherGivesBackAnAnswerWithWrongRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &leased{model: &model{answer: func(backends.Batch) (backends.Batch, error) { return double(request(1, 2, 3)), nil }}}
		b, err := New(l, doubler, Options{MaxRows: 8, MaxQueueRows: 8, Inflight: 1})
		if err != nil {
			t.Fatal(err)
		}
		send(t.Context(), b, request(1)).fails(t, "lone", errRows)
		if l.lent.Load() != 0 {
			t.Error("the answer is still lent")
		}
	})
}

// joining lays the parts itself.
type joining struct {
	*model
	parts []int // of each PredictJoined
}

func (j *joining) PredictJoined(ctx context.Context, parts []backends.Batch) (backends.Batch, error) {
	j.parts = append(j.parts, len(parts))
	var all []int64
	for _, part := range parts {
		all = append(all, values(part.Tensors[0])...)
	}
	return j.Predict(ctx, request(all...))
}

func TestBatcherLeavesTheLayingToAJoiner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &joining{model: &model{takes: time.Millisecond}}
		b, err := New(j, doubler, Options{MaxRows: 8, MaxQueueRows: 8, Inflight: 1})
		if err != nil {
			t.Fatal(err)
		}
		send(t.Context(), b, request(0)).check(t, "lone", 0)
		send(t.Context(), b, request(0))
		one, two := send(t.Context(), b, request(1, 2)), send(t.Context(), b, request(3))
		one.check(t, "one", 2, 4)
		two.check(t, "two", 6)
		if !slices.Equal(j.parts, []int{2}) {
			t.Errorf("PredictJoined was asked with %v parts, want [2]", j.parts)
		}
	})
}
