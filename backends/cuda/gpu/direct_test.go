//go:build cuda

package gpu

import (
	"errors"
	"sync"
	"testing"

	"github.com/ebitengine/purego"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu"
	"github.com/thrumserve/thrum/plugins"
)

// copiedAside returns how many bytes of answers were copied to memory that the driver has made, from
// where the processor has to take them on.
func copiedAside(t *testing.T) int { return asked(t, "fake_aside") }

// asked returns what a function of the driver's says of it.
func asked(t *testing.T, name string) int {
	t.Helper()
	handle, err := purego.Dlopen("libcuda.so.1", purego.RTLD_NOW)
	if err != nil {
		t.Fatal(err)
	}
	function, err := purego.Dlsym(handle, name)
	if err != nil {
		t.Fatal(err)
	}
	n, _, _ := purego.SyscallN(function)
	return int(n)
}

// TestDirectAnswers has answers copied to where they are wanted.
func TestDirectAnswers(t *testing.T) {
	b, reference := backend(t), cpu.New(cpu.Options{Threads: 1})
	defer reference.Close()
	shared, other := make([]byte, 1<<16), make([]byte, 1<<16)
	end := b.Share(shared[:1<<15])
	spec := backends.Spec{Dir: "../testdata/layers", MaxRows: 4}
	m, err := b.Load(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	r, err := reference.Load(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		situation string
		room      []byte
		at        int
		direct    bool
	}{
		{"memory that is registered", shared, 0, true},
		{"not at its beginning", shared, 8192, true},
		{"memory that is not", other, 0, false},
		{"memory that ends too soon", shared, 1<<15 - 4, false},
		{"no room", nil, 0, false},
	} {
		for _, rows := range []int64{1, 3, 9} { // nine are computed in parts
			in := random(r.Signature(), rows, 5)
			want, err := r.Predict(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			before := copiedAside(t)
			got, err := m.(plugins.Placer).PredictInto(t.Context(), in, placeAt(c.room, c.at))
			if err != nil {
				t.Fatalf("%s, %d rows: PredictInto = %v", c.situation, rows, err)
			}
			bytes := 0
			for _, t := range got.Tensors {
				bytes += len(t.Data)
			}
			if c.direct {
				bytes = 0
			}
			if aside := copiedAside(t) - before; aside != bytes {
				t.Errorf("%s, %d rows: %d bytes were copied aside, want %d", c.situation, rows, aside, bytes)
			}
			if in := c.room != nil && &got.Tensors[0].Data[0] == &c.room[c.at]; in != c.direct || (got.Lease == nil) != c.direct {
				t.Errorf("%s, %d rows: the answer lies in the room: %v, want %v", c.situation, rows, in, c.direct)
			}
			for i := range want.Tensors {
				if err := differs(got.Tensors[i], want.Tensors[i], 2e-4); err != nil {
					t.Errorf("%s, %d rows: %v", c.situation, rows, err)
				}
			}
			got.Release()
		}
	}
	err = m.Close()
	end()
	if err := errors.Join(err, r.Close(), b.Close()); err != nil {
		t.Errorf("Close = %v", err)
	}
}

// TestDirectStreams has batches go through one stream where each is alone, and else through three that wait for
// each other.
func TestDirectStreams(t *testing.T) {
	b := backend(t)
	defer b.Close()
	m, err := b.Load(t.Context(), backends.Spec{Dir: "../testdata/layers", MaxRows: 4})
	if err != nil {
		t.Fatal(err)
	}
	predict := func() {
		out, err := m.Predict(t.Context(), random(m.Signature(), 2, 1))
		if err != nil {
			t.Error(err)
			return
		}
		out.Release()
	}
	before := asked(t, "fake_waits")
	for range 5 {
		predict()
	}
	if n := asked(t, "fake_waits") - before; n != 0 {
		t.Errorf("streams have waited for each other %d times for batches that were alone", n)
	}
	var pair sync.WaitGroup
	for asked(t, "fake_waits") == before && !t.Failed() && t.Context().Err() == nil { // until two have met
		pair.Go(predict)
		pair.Go(predict)
		pair.Wait()
	}
	if n := asked(t, "fake_waits") - before; n%2 != 0 {
		t.Errorf("streams have waited for each other %d times, want twice for a batch", n)
	}
}

// placeAt gives tensors their data in room, one behind the other.
func placeAt(room []byte, at int) func([]backends.Tensor) bool {
	return func(tensors []backends.Tensor) bool {
		for i, t := range tensors {
			n := int(t.Elements()) * t.Datatype.Size()
			if room == nil {
				return false
			}
			tensors[i].Data = room[at : at+n : at+n]
			at += n
		}
		return true
	}
}
