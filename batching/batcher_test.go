package batching

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thrumserve/thrum/backends"
)

func is(err, target error) bool { return errors.Is(err, target) }

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// doubler takes x, any number of INT64 columns, and answers y = 2x.
var doubler = backends.Signature{
	Batched: true,
	Inputs: []backends.TensorSpec{
		{Name: "x", Datatype: backends.Int64, Shape: []int64{-1, -1}},
		{Name: "extra", Datatype: backends.Int64, Shape: []int64{-1}, Optional: true},
	},
	Outputs: []backends.TensorSpec{
		{Name: "y", Datatype: backends.Int64, Shape: []int64{-1, -1}},
		{Name: "z", Datatype: backends.Bytes, Shape: []int64{-1, 3}},
	},
}

func column(name string, values ...int64) backends.Tensor {
	data := []byte{}
	for _, v := range values {
		data = binary.LittleEndian.AppendUint64(data, uint64(v))
	}
	return backends.Tensor{Name: name, Datatype: backends.Int64, Shape: []int64{int64(len(values)), 1}, Data: data}
}

func request(values ...int64) backends.Batch {
	return backends.Batch{Tensors: []backends.Tensor{column("x", values...)}}
}

func values(t backends.Tensor) (all []int64) {
	for data := t.Data; len(data) > 0; data = data[8:] {
		all = append(all, int64(binary.LittleEndian.Uint64(data)))
	}
	return all
}

func double(in backends.Batch) backends.Batch {
	x, _ := in.Tensor("x")
	all := values(x)
	for i := range all {
		all[i] *= 2
	}
	y := column("y", all...)
	y.Shape = x.Shape
	return backends.Batch{Tensors: []backends.Tensor{y}}
}

// model is a predictor that takes a while and keeps what it was given.
type model struct {
	takes  time.Duration
	answer func(in backends.Batch) (backends.Batch, error) // nil: double

	mu       sync.Mutex // protects the fields below
	given    []backends.Batch
	ctxs     []context.Context
	canceled int
}

func (m *model) Predict(ctx context.Context, in backends.Batch) (backends.Batch, error) {
	m.mu.Lock()
	m.given, m.ctxs = append(m.given, in), append(m.ctxs, ctx)
	m.mu.Unlock()
	select {
	case <-time.After(m.takes):
	case <-ctx.Done():
		m.mu.Lock()
		m.canceled++
		m.mu.Unlock()
		return backends.Batch{}, ctx.Err()
	}
	if m.answer != nil {
		return m.answer(in)
	}
	return double(in), nil
}

func (m *model) batches() (rows []int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, in := range m.given {
		rows = append(rows, in.Rows())
	}
	return rows
}

func start(t *testing.T, m *model, sig backends.Signature, o Options) *Batcher {
	t.Helper()
	b, err := New(m, sig, o)
	if err != nil {
		t.Fatalf("New(%+v) = %v", o, err)
	}
	return b
}

// sent is the fate of one call.
type sent struct {
	done  chan struct{}
	out   backends.Batch
	err   error
	after time.Duration
}

// send starts a call and waits until it executes, waits or has ended.
func send(ctx context.Context, b *Batcher, in backends.Batch) *sent {
	s := &sent{done: make(chan struct{})}
	begin := time.Now()
	go func() {
		defer close(s.done)
		s.out, s.err = b.Predict(ctx, in)
		s.after = time.Since(begin)
	}()
	synctest.Wait()
	return s
}

func (s *sent) check(t *testing.T, name string, want ...int64) {
	t.Helper()
	<-s.done
	if s.err != nil {
		t.Errorf("%s: %v", name, s.err)
		return
	}
	y, _ := s.out.Tensor("y")
	if got := values(y); !slices.Equal(got, want) || s.out.Rows() != len(want) {
		t.Errorf("%s got %v of shape %v, want %v", name, got, y.Shape, want)
	}
}

func (s *sent) fails(t *testing.T, name string, want error) {
	t.Helper()
	<-s.done
	if !is(s.err, want) {
		t.Errorf("%s got %v, want %v", name, s.err, want)
	}
}

func expectBatches(t *testing.T, m *model, want ...int) {
	t.Helper()
	if got := m.batches(); !slices.Equal(got, want) {
		t.Errorf("batches of %v rows, want %v", got, want)
	}
}

func TestBatcherFormsBatchesWhileBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &model{takes: 20 * time.Millisecond}
		var infos []BatchInfo
		b := start(t, m, doubler, Options{MaxRows: 4, MaxQueueRows: 16, Inflight: 1,
			OnBatch: func(i BatchInfo) { infos = append(infos, i) }})
		begin := time.Now()
		var calls []*sent
		for i := range int64(9) {
			calls = append(calls, send(t.Context(), b, request(i)))
		}
		if s := b.Stats(); s.QueuedCalls != 8 || s.QueuedRows != 8 || s.Inflight != 1 {
			t.Errorf("Stats = %+v, want 8 calls queued and 1 batch executing", s)
		}
		for i, c := range calls {
			c.check(t, fmt.Sprint("call ", i), 2*int64(i))
		}
		expectBatches(t, m, 1, 4, 4)
		if took := time.Since(begin); took != 60*time.Millisecond {
			t.Errorf("nine calls took %v, want 60ms", took)
		}
		for i, want := range []backends.Trace{
			0: {Queue: 0, Compute: 20 * time.Millisecond, BatchRows: 1},
			1: {Queue: 20 * time.Millisecond, Compute: 20 * time.Millisecond, BatchRows: 4},
			8: {Queue: 40 * time.Millisecond, Compute: 20 * time.Millisecond, BatchRows: 4},
		} {
			if want.BatchRows > 0 && calls[i].out.Trace != want {
				t.Errorf("call %d: Trace = %+v, want %+v", i, calls[i].out.Trace, want)
			}
		}
		synctest.Wait()
		if s := b.Stats(); s != (Stats{Batches: 3, Rows: 9}) {
			t.Errorf("Stats = %+v, want 3 batches with 9 rows and nothing else", s)
		}
		if want := []BatchInfo{{1, 1, 20 * time.Millisecond, nil}, {4, 4, 20 * time.Millisecond, nil}, {4, 4, 20 * time.Millisecond, nil}}; !slices.Equal(infos, want) {
			t.Errorf("OnBatch got %v, want %v", infos, want)
		}
	})
}

func TestBatcherBoundsRowsOfABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &model{takes: time.Millisecond}
		b := start(t, m, doubler, Options{MaxRows: 4, MaxQueueRows: 16, Inflight: 1})
		first := send(t.Context(), b, request(1))
		three := send(t.Context(), b, request(1, 2, 3))
		two := send(t.Context(), b, request(4, 5))
		one := send(t.Context(), b, request(6))
		four := send(t.Context(), b, request(7, 8, 9, 10))
		first.check(t, "first", 2)
		three.check(t, "three", 2, 4, 6)
		two.check(t, "two", 8, 10)
		one.check(t, "one", 12)
		four.check(t, "four", 14, 16, 18, 20)
		expectBatches(t, m, 1, 3, 3, 4)
	})
}

func TestBatcherRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &model{takes: time.Millisecond}
		b := start(t, m, doubler, Options{MaxRows: 3, MaxQueueRows: 5, Inflight: 1})
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		running := send(t.Context(), b, request(1))
		waiting := []*sent{send(t.Context(), b, request(1, 2)), send(t.Context(), b, request(3, 4))}
		for _, test := range []struct {
			situation string
			ctx       context.Context
			in        backends.Batch
			kind      error
			text      string
		}{
			{"more rows than a batch", t.Context(), request(1, 2, 3, 4), backends.ErrInvalid,
				"4 rows, at most 3: send fewer or raise batching.max_rows"},
			{"more rows than the queue has room for", t.Context(), request(1, 2), backends.ErrOverloaded,
				"4 rows wait and at most 5 may, no room for 2 more: try again later or raise batching.max_queue_rows"},
			{"a call that does not fit the signature", t.Context(), backends.Batch{Tensors: []backends.Tensor{column("q", 1)}},
				backends.ErrInvalid, `unknown input "q": this model takes [x extra]`},
			{"a context that has ended", ended, request(1), context.Canceled, "context canceled"},
		} {
			c := send(test.ctx, b, test.in)
			c.fails(t, test.situation, test.kind)
			if text(c.err) != test.text || c.after != 0 {
				t.Errorf("%s: %q after %v, want %q at once", test.situation, text(c.err), c.after, test.text)
			}
		}
		fits := send(t.Context(), b, request(5))
		running.check(t, "running", 2)
		waiting[0].check(t, "first in the queue", 2, 4)
		waiting[1].check(t, "second in the queue", 6, 8)
		fits.check(t, "a call that fits the queue to the row", 10)
		expectBatches(t, m, 1, 2, 3)
		if s := b.Stats(); s.Rejected != 1 {
			t.Errorf("Rejected = %d, want 1", s.Rejected)
		}
	})
}

func TestBatcherRunsTwoBatchesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &model{takes: 10 * time.Millisecond}
		b := start(t, m, doubler, Options{MaxRows: 2, MaxQueueRows: 16, Inflight: 2})
		begin := time.Now()
		var calls []*sent
		for i := range int64(8) {
			calls = append(calls, send(t.Context(), b, request(i)))
			if s := b.Stats(); s.Inflight > 2 {
				t.Fatalf("%d batches execute, at most 2 may", s.Inflight)
			}
		}
		for i, c := range calls {
			c.check(t, fmt.Sprint("call ", i), 2*int64(i))
		}
		expectBatches(t, m, 1, 1, 2, 2, 2)
		if took := time.Since(begin); took != 30*time.Millisecond {
			t.Errorf("took %v, want 30ms", took)
		}
	})
}

func TestBatcherJoinsOnlyCompatibleCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &model{takes: time.Millisecond}
		b := start(t, m, doubler, Options{MaxRows: 8, MaxQueueRows: 16, Inflight: 1})
		wide := func(v ...int64) backends.Batch {
			in := request(v...)
			in.Tensors[0].Shape = []int64{int64(len(v)) / 2, 2}
			return in
		}
		extra := func(tensors ...backends.Tensor) backends.Batch {
			for i := range tensors {
				if tensors[i].Name == "extra" {
					tensors[i].Shape = tensors[i].Shape[:1]
				}
			}
			return backends.Batch{Tensors: tensors}
		}
		running := send(t.Context(), b, request(0))
		a1 := send(t.Context(), b, request(1))
		w1 := send(t.Context(), b, wide(10, 11))
		e1 := send(t.Context(), b, extra(column("x", 20), column("extra", 0)))
		a2 := send(t.Context(), b, request(2, 3))
		e2 := send(t.Context(), b, extra(column("extra", 0), column("x", 21)))
		w2 := send(t.Context(), b, wide(12, 13, 14, 15))

		running.check(t, "running", 0)
		a1.check(t, "a1", 2)
		a2.check(t, "a2", 4, 6)
		<-w1.done
		<-w2.done
		if y1, y2 := w1.out.Tensors[0], w2.out.Tensors[0]; !slices.Equal(values(y1), []int64{20, 22}) || !slices.Equal(values(y2), []int64{24, 26, 28, 30}) {
			t.Errorf("wide calls got %v and %v", y1, y2)
		}
		e1.check(t, "e1", 40)
		e2.check(t, "e2, which lists its inputs the other way", 42)
		expectBatches(t, m, 1, 3, 3, 2)
		if e := m.given[3]; e.Tensors[0].Name != "x" || e.Tensors[1].Name != "extra" {
			t.Errorf("the stacked batch lists %q, %q, want the signature's order", e.Tensors[0].Name, e.Tensors[1].Name)
		}
	})
}

func TestBatcherAnswersCallsWithoutRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &model{takes: time.Millisecond}
		b := start(t, m, doubler, Options{MaxRows: 8, MaxQueueRows: 8, Inflight: 1})
		neighbour := send(t.Context(), b, request(1))
		none := request()
		all := send(t.Context(), b, none)
		none.Outputs = []string{"z"}
		z := send(t.Context(), b, none)
		neighbour.check(t, "neighbour", 2)
		if want := []backends.Tensor{
			{Name: "y", Datatype: backends.Int64, Shape: []int64{0, 0}},
			{Name: "z", Datatype: backends.Bytes, Shape: []int64{0, 3}},
		}; all.err != nil || !reflect.DeepEqual(all.out.Tensors, want) {
			t.Errorf("all outputs: %v, %v, want %v", all.out.Tensors, all.err, want)
		} else if z.err != nil || !reflect.DeepEqual(z.out.Tensors, want[1:]) {
			t.Errorf("output z: %v, %v, want %v", z.out.Tensors, z.err, want[1:])
		}
		expectBatches(t, m, 1)
	})
}

func TestBatcherExpiresCallsInTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &model{takes: 20 * time.Millisecond}
		b := start(t, m, doubler, Options{MaxRows: 4, MaxQueueRows: 4, Inflight: 1})
		short, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		running := send(t.Context(), b, request(0))
		before := send(t.Context(), b, request(1))
		expires := send(short, b, request(100, 101))
		after := send(t.Context(), b, request(2))
		expires.fails(t, "expires", context.DeadlineExceeded)
		if expires.after != 5*time.Millisecond {
			t.Errorf("the expired call returned after %v, want 5ms", expires.after)
		}
		if s := b.Stats(); s.QueuedRows != 2 || s.QueuedCalls != 2 || s.Expired != 1 || s.Abandoned != 0 {
			t.Errorf("Stats = %+v, want 2 rows of 2 calls queued and 1 expired", s)
		}
		refill := send(t.Context(), b, request(3, 4))
		running.check(t, "running", 0)
		before.check(t, "before", 2)
		after.check(t, "after", 4)
		refill.check(t, "the call in the room of the expired one", 6, 8)
		expectBatches(t, m, 1, 4)
	})
}

// A context can end while its caller has not run yet: the call is then still in the queue when
// the batch forms.
func TestBatcherDropsEndedCallsBeforeStacking(t *testing.T) {
	m := &model{}
	b := start(t, m, doubler, Options{MaxRows: 4, MaxQueueRows: 8, Inflight: 1})
	ended, cancel := context.WithCancel(t.Context())
	b.busy = 1
	b.slots.Add(1)
	for _, ctx := range []context.Context{ended, t.Context(), ended} {
		c, err := b.newCall(ctx, request(1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.enter(c); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if got := b.take(); got == nil || len(got.calls) != 1 || got.rows != 1 {
		t.Errorf("take() = %+v, want the one call that still waits", got)
	}
	c, err := b.newCall(ended, request(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.enter(c); err != nil {
		t.Fatal(err)
	}
	if got := b.take(); got != nil || b.busy != 0 || b.queue.rows != 0 {
		t.Errorf("take() = %+v with %d slots taken and %d rows queued, want a free slot", got, b.busy, b.queue.rows)
	}
}

func TestBatcherShieldsNeighboursFromCancellation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &model{takes: 5 * time.Millisecond}
		b := start(t, m, doubler, Options{MaxRows: 4, MaxQueueRows: 8, Inflight: 1})
		impatient, cancel := context.WithTimeout(t.Context(), 15*time.Millisecond)
		defer cancel()
		patient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		latest, _ := patient.Deadline()
		running := send(t.Context(), b, request(0))
		m.takes = 20 * time.Millisecond // of the next batch
		leaves := send(impatient, b, request(1))
		stays := send(patient, b, request(2))
		leaves.fails(t, "impatient", context.DeadlineExceeded)
		if leaves.after != 15*time.Millisecond {
			t.Errorf("the impatient call returned after %v, want 15ms", leaves.after)
		}
		running.check(t, "running", 0)
		stays.check(t, "patient", 4)
		if stays.after != 25*time.Millisecond || m.canceled != 0 {
			t.Errorf("the patient call returned after %v, %d batches cancelled, want 25ms and none", stays.after, m.canceled)
		}
		if deadline, ok := m.ctxs[1].Deadline(); !ok || !deadline.Equal(latest) {
			t.Errorf("the batch has deadline %v, want the latest of its calls, %v", deadline, latest)
		}
		synctest.Wait()
		if m.ctxs[1].Err() == nil {
			t.Errorf("the context of the batch outlives it")
		}
		if s := b.Stats(); s.Abandoned != 1 || s.Expired != 0 {
			t.Errorf("Stats = %+v, want 1 abandoned and none expired", s)
		}
	})
}

func TestBatcherBatchOfUnhurriedCallHasNoDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &model{takes: 20 * time.Millisecond}
		b := start(t, m, doubler, Options{MaxRows: 4, MaxQueueRows: 8, Inflight: 1})
		hurried, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer cancel()
		send(t.Context(), b, request(0))
		send(hurried, b, request(1))
		last := send(t.Context(), b, request(2))
		last.check(t, "unhurried", 4)
		if _, ok := m.ctxs[1].Deadline(); ok {
			t.Errorf("the batch has a deadline, but one of its calls has none")
		}
	})
}

func TestBatcherCancelsABatchThatNobodyWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &model{takes: 20 * time.Millisecond}
		b := start(t, m, doubler, Options{MaxRows: 4, MaxQueueRows: 8, Inflight: 1})
		leaving, cancel := context.WithCancel(t.Context())
		running := send(t.Context(), b, request(0))
		one, two := send(leaving, b, request(1)), send(leaving, b, request(2))
		running.check(t, "running", 0)
		synctest.Wait()
		next := send(t.Context(), b, request(3))
		cancel()
		one.fails(t, "one", context.Canceled)
		two.fails(t, "two", context.Canceled)
		next.check(t, "next", 6)
		if m.canceled != 1 || next.after != 20*time.Millisecond {
			t.Errorf("%d batches cancelled and the next call took %v, want 1 and 20ms", m.canceled, next.after)
		}
	})
}

func TestBatcherDrainsOnClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &model{takes: 20 * time.Millisecond}
		b := start(t, m, doubler, Options{MaxRows: 2, MaxQueueRows: 8, Inflight: 1})
		begin := time.Now()
		var calls []*sent
		for i := range int64(4) {
			calls = append(calls, send(t.Context(), b, request(i)))
		}
		closed := make(chan time.Duration)
		go func() {
			if err := b.Close(); err != nil {
				t.Errorf("Close() = %v", err)
			}
			closed <- time.Since(begin)
		}()
		synctest.Wait()
		late := send(t.Context(), b, request(9))
		late.fails(t, "a call after Close", backends.ErrUnavailable)
		if late.after != 0 {
			t.Errorf("the late call waited %v", late.after)
		}
		for i, c := range calls {
			c.check(t, fmt.Sprint("call ", i), 2*int64(i))
		}
		if took := <-closed; took != 60*time.Millisecond {
			t.Errorf("Close returned after %v, want 60ms", took)
		}
		expectBatches(t, m, 1, 2, 1)
		if err := b.Close(); err != nil {
			t.Errorf("second Close() = %v", err)
		}
	})
}

func TestBatcherIsolatesABadRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &model{takes: 10 * time.Millisecond}
		m.answer = func(in backends.Batch) (backends.Batch, error) {
			if x := values(in.Tensors[0]); slices.Contains(x, 13) {
				return backends.Batch{}, backends.Errorf(backends.ErrInvalid, "13 of %d", len(x))
			}
			return double(in), nil
		}
		b := start(t, m, doubler, Options{MaxRows: 8, MaxQueueRows: 8, Inflight: 1})
		leaving, cancel := context.WithTimeout(t.Context(), 25*time.Millisecond)
		defer cancel()
		send(t.Context(), b, request(0))
		good := send(t.Context(), b, request(1, 2))
		bad := send(t.Context(), b, request(13))
		left := send(leaving, b, request(3))
		fine := send(t.Context(), b, request(4))
		good.check(t, "good", 2, 4)
		bad.fails(t, "bad", backends.ErrInvalid)
		left.fails(t, "left", context.DeadlineExceeded)
		fine.check(t, "fine", 8)
		if text(bad.err) != "13 of 1" {
			t.Errorf("the bad call got %q, want the error of its own run", text(bad.err))
		}
		expectBatches(t, m, 1, 5, 2, 1, 1) // left is not repeated
		if want := (backends.Trace{Queue: 20 * time.Millisecond, Compute: 10 * time.Millisecond, BatchRows: 2}); good.out.Trace != want {
			t.Errorf("Trace = %+v, want that of the repetition, %+v", good.out.Trace, want)
		}
		if s := b.Stats(); s.Batches != 5 || s.Rows != 10 {
			t.Errorf("Stats = %+v, want 5 batches with 10 rows", s)
		}
	})
}

func TestBatcherFailsTogether(t *testing.T) {
	down := backends.Errorf(backends.ErrUnavailable, "down")
	for _, test := range []struct {
		situation string
		answer    func(in backends.Batch) (backends.Batch, error)
		want      string
	}{
		{"an error that is not the request's", func(backends.Batch) (backends.Batch, error) { return backends.Batch{}, down }, "down"},
		{"a row too few", func(in backends.Batch) (backends.Batch, error) {
			return backends.Batch{Tensors: []backends.Tensor{column("y", make([]int64, in.Rows()-1)...)}}, nil
		}, `the model answered 2 rows with output "y" of shape [1 1]`},
		{"damaged data", func(in backends.Batch) (backends.Batch, error) {
			out := double(in)
			out.Tensors[0].Data = out.Tensors[0].Data[1:]
			return out, nil
		}, `the model answered 2 rows with a damaged output: tensor "y": 15 bytes of data do not fit shape [2 1] of INT64 (2 elements of 8 bytes)`},
	} {
		t.Run(test.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &model{takes: time.Millisecond, answer: func(in backends.Batch) (backends.Batch, error) {
					if in.Rows() == 1 {
						return double(in), nil
					}
					return test.answer(in)
				}}
				b := start(t, m, doubler, Options{MaxRows: 8, MaxQueueRows: 8, Inflight: 1})
				running := send(t.Context(), b, request(0))
				one, two := send(t.Context(), b, request(1)), send(t.Context(), b, request(2))
				running.check(t, "running", 0)
				for _, c := range []*sent{one, two} {
					<-c.done
					if text(c.err) != test.want || is(c.err, backends.ErrInvalid) || !reflect.DeepEqual(c.out.Tensors, []backends.Tensor(nil)) {
						t.Errorf("got %v, %q, want %q and no answer", c.out.Tensors, text(c.err), test.want)
					}
				}
				expectBatches(t, m, 1, 2)
				send(t.Context(), b, request(5)).check(t, "the loop after it", 10)
			})
		})
	}
}

// A lone call goes through the same checks as a batch.
func TestBatcherLoneCallFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &model{answer: func(backends.Batch) (backends.Batch, error) { panic("boom") }}
		b := start(t, m, doubler, Options{MaxRows: 8, MaxQueueRows: 8, Inflight: 1})
		panics := send(t.Context(), b, request(1))
		<-panics.done
		if text(panics.err) != "the model panicked: boom" {
			t.Errorf("a panic: got %q", text(panics.err))
		}
		m.answer = func(backends.Batch) (backends.Batch, error) {
			return backends.Batch{Tensors: []backends.Tensor{column("y", 1, 2)}}, nil
		}
		wrong := send(t.Context(), b, request(1))
		<-wrong.done
		if text(wrong.err) != `the model answered 1 rows with output "y" of shape [2 1]` {
			t.Errorf("a wrong row count: got %q", text(wrong.err))
		}
		m.answer = nil
		send(t.Context(), b, request(5)).check(t, "the slot after it", 10)
	})
}

func TestBatcherRunsUnbatchedCallsApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sig := doubler
		sig.Batched = false
		m := &model{takes: time.Millisecond, answer: func(in backends.Batch) (backends.Batch, error) {
			return double(request(values(in.Tensors[0])[0])), nil // one row whatever came in
		}}
		b := start(t, m, sig, Options{MaxRows: 4, MaxQueueRows: 4, Inflight: 2})
		var calls []*sent
		for i := range int64(6) {
			calls = append(calls, send(t.Context(), b, request(i, 0, 0, 0, 0, 0)))
		}
		send(t.Context(), b, request(9)).fails(t, "a seventh", backends.ErrOverloaded)
		for i, c := range calls {
			c.check(t, fmt.Sprint("call ", i), 2*int64(i))
			if c.out.Trace.BatchRows != 1 {
				t.Errorf("call %d: BatchRows = %d, want 1", i, c.out.Trace.BatchRows)
			}
		}
		expectBatches(t, m, 6, 6, 6, 6, 6, 6)
		if s := b.Stats(); s.Rows != 6 {
			t.Errorf("Stats = %+v, want 6 rows, one a call", s)
		}
	})
}

func TestBatcherKeepsTheTraceOfInnerStages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &model{takes: time.Millisecond, answer: func(in backends.Batch) (backends.Batch, error) {
			out := double(in)
			out.Trace = backends.Trace{Cache: backends.CacheMiss, Compute: time.Hour}
			return out, nil
		}}
		b := start(t, m, doubler, Options{MaxRows: 4, MaxQueueRows: 4, Inflight: 1})
		lone := send(t.Context(), b, request(0))
		together := []*sent{send(t.Context(), b, request(1)), send(t.Context(), b, request(2))}
		for i, c := range append(together, lone) {
			<-c.done
			if got := c.out.Trace; got.Cache != backends.CacheMiss || got.Compute != time.Millisecond {
				t.Errorf("call %d: Trace = %+v, want the cache's outcome and 1ms of compute", i, got)
			}
		}
	})
}

func TestNewRefusesSignaturesWithoutRows(t *testing.T) {
	o := Options{MaxRows: 1, MaxQueueRows: 1, Inflight: 1}
	x := backends.TensorSpec{Name: "x", Datatype: backends.FP32, Shape: []int64{-1}}
	scalar := backends.TensorSpec{Name: "s", Datatype: backends.FP32}
	optional := x
	optional.Optional = true
	for _, test := range []struct {
		situation string
		sig       backends.Signature
	}{
		{"a scalar input", backends.Signature{Batched: true, Inputs: []backends.TensorSpec{x, scalar}}},
		{"a scalar output", backends.Signature{Batched: true, Inputs: []backends.TensorSpec{x}, Outputs: []backends.TensorSpec{scalar}}},
		{"no input that must be there", backends.Signature{Batched: true, Inputs: []backends.TensorSpec{optional}}},
	} {
		if _, err := New(&model{}, test.sig, o); !is(err, backends.ErrInvalid) {
			t.Errorf("%s: New = %v, want an ErrInvalid", test.situation, err)
		}
	}
	if _, err := New(&model{}, doubler, Options{}); !is(err, backends.ErrInvalid) {
		t.Errorf("no options: New = %v, want an ErrInvalid", err)
	}
}

// TestSlotsFollowTheCost sends calls one microsecond after the other: while batches are over in
// no time those wait for the one under way and are one batch; when batches take longer the next
// one is sent ahead.
func TestSlotsFollowTheCost(t *testing.T) {
	for _, test := range []struct {
		situation string
		takes     time.Duration
		want      []int
	}{
		{"cheap", 10 * time.Microsecond, []int{1, 4}},
		{"dear", time.Millisecond, []int{1, 1, 3}},
	} {
		t.Run(test.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &model{takes: test.takes}
				b := start(t, m, doubler, Options{MaxRows: 64, MaxQueueRows: 64, Inflight: 2, Instances: 1})
				b.cost.observe(test.takes)
				for i := range 5 {
					send(t.Context(), b, request(int64(i)))
					time.Sleep(time.Microsecond)
				}
				time.Sleep(time.Second)
				expectBatches(t, m, test.want...)
			})
		})
	}
}

// TestSlotOpensToTheQueue has batches become dear while calls wait: whoever comes next does not
// go before them.
func TestSlotOpensToTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &model{takes: 10 * time.Microsecond}
		b := start(t, m, doubler, Options{MaxRows: 1, MaxQueueRows: 64, Inflight: 2, Instances: 1})
		for i := range 3 {
			send(t.Context(), b, request(int64(i)))
		}
		b.cost.observe(1)
		for b.cost.known() < worthAhead {
			b.cost.observe(time.Second)
		}
		last := send(t.Context(), b, request(3))
		if got := b.Stats(); got.Inflight != 2 || got.QueuedCalls != 2 {
			t.Errorf("%d batches under way and %d calls waiting, want 2 and 2", got.Inflight, got.QueuedCalls)
		}
		last.check(t, "the last", 6)
		var order []int64
		for _, in := range m.given {
			order = append(order, values(in.Tensors[0])...)
		}
		if want := []int64{0, 1, 2, 3}; !slices.Equal(order, want) {
			t.Errorf("calls were computed in the order %v, want %v", order, want)
		}
	})
}

// TestBatcherSparesItselfLostCalls has a call in the queue that would be late with any answer.
func TestBatcherSparesItselfLostCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &model{takes: 20 * time.Millisecond}
		b := start(t, m, doubler, Options{MaxRows: 4, MaxQueueRows: 8, Inflight: 1})
		late, cancel := context.WithTimeout(t.Context(), 39*time.Millisecond)
		defer cancel()
		just, cancel := context.WithTimeout(t.Context(), 41*time.Millisecond)
		defer cancel()
		running := send(t.Context(), b, request(0))
		lost, answered := send(late, b, request(1)), send(just, b, request(2))
		running.check(t, "running", 0)
		answered.check(t, "in time", 4)
		lost.fails(t, "late", context.DeadlineExceeded)
		expectBatches(t, m, 1, 1)
		if s := b.Stats(); s.Expired != 1 {
			t.Errorf("Stats = %+v, want 1 expired", s)
		}
	})
}

func TestWaitingSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &model{takes: 20 * time.Millisecond}
		b := start(t, m, doubler, Options{MaxRows: 1, MaxQueueRows: 8, Inflight: 1})
		begin := time.Now()
		at := func(after time.Duration) time.Time { return begin.Add(after * time.Millisecond) }
		send(t.Context(), b, request(0))
		time.Sleep(5 * time.Millisecond)
		send(t.Context(), b, request(1)) // waits from 5 to 20
		time.Sleep(10 * time.Millisecond)
		send(t.Context(), b, request(2)) // waits from 15 to 40
		check := func(now, came, want time.Duration) {
			t.Helper()
			time.Sleep(time.Until(at(now)))
			if got := b.WaitingSince(at(came)); got != at(want) {
				t.Errorf("at %d ms who came at %d ms has waited since %v, want %d ms", now, came, got.Sub(begin), want)
			}
		}
		check(16, 3, 3) // nobody waited then
		check(16, 15, 5)
		check(30, 25, 5)
		check(50, 39, 5)
		check(50, 45, 45) // the queue was empty by then
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		send(ctx, b, request(3)) // waits from 50 to 51
		check(55, 50, 50)
		check(55, 52, 52)
		time.Sleep(time.Second)
	})
}
