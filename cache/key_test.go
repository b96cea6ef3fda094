package cache

import (
	"bytes"
	"hash/maphash"
	"reflect"
	"slices"
	"testing"

	"github.com/thrumserve/thrum/backends"
)

var seed = maphash.MakeSeed()

func sum(b []byte) uint64 { return maphash.Bytes(seed, b) }

func floats(name string, shape ...int64) backends.Tensor {
	return backends.Tensor{Name: name, Datatype: backends.FP32, Shape: shape, Data: make([]byte, 4*backends.Elements(shape))}
}

func TestKeyTellsRequestsApart(t *testing.T) {
	xy := []backends.Tensor{floats("x", 2, 3), floats("y", 1)}
	changed := func(change func(t *backends.Tensor)) backends.Batch {
		tensors := slices.Clone(xy)
		change(&tensors[0])
		return backends.Batch{Tensors: tensors}
	}
	requests := []struct {
		situation string
		id        string
		in        backends.Batch
	}{
		{"plain", "a", backends.Batch{Tensors: xy}},
		{"another version", "b", backends.Batch{Tensors: xy}},
		{"no inputs", "a", backends.Batch{}},
		{"one input less", "a", backends.Batch{Tensors: xy[:1]}},
		{"another name", "a", changed(func(t *backends.Tensor) { t.Name = "x1" })},
		{"another datatype", "a", changed(func(t *backends.Tensor) { t.Datatype = backends.Int32 })},
		{"the same data in another shape", "a", changed(func(t *backends.Tensor) { t.Shape = []int64{3, 2} })},
		{"the same data in one more dimension", "a", changed(func(t *backends.Tensor) { t.Shape = []int64{2, 3, 1} })},
		{"other data", "a", changed(func(t *backends.Tensor) { t.Data = bytes.Repeat([]byte{1}, 24) })},
		{"data cut elsewhere", "a", backends.Batch{Tensors: []backends.Tensor{
			{Name: "x", Datatype: backends.FP32, Shape: []int64{2, 3}, Data: make([]byte, 20)},
			{Name: "y", Datatype: backends.FP32, Shape: []int64{1}, Data: make([]byte, 8)}}}},
		{"a length", "a", backends.Batch{Tensors: []backends.Tensor{{Name: "x", Shape: []int64{5}, Data: []byte{0}}}}},
		{"a dimension in its place", "a", backends.Batch{Tensors: []backends.Tensor{{Name: "x", Shape: []int64{5, 1}}}}},
		{"no outputs wanted", "a", backends.Batch{Tensors: xy, Outputs: []string{}}},
		{"outputs p, q", "a", backends.Batch{Tensors: xy, Outputs: []string{"p", "q"}}},
		{"outputs q, p", "a", backends.Batch{Tensors: xy, Outputs: []string{"q", "p"}}},
		{"output pq", "a", backends.Batch{Tensors: xy, Outputs: []string{"pq"}}},
		{"a parameter", "a", backends.Batch{Tensors: xy, Parameters: []backends.Parameter{{Name: "p", Value: "1"}}}},
		{"its value a string", "a", backends.Batch{Tensors: xy, Parameters: []backends.Parameter{{Name: "p", Value: `"1"`}}}},
		{"its name longer", "a", backends.Batch{Tensors: xy, Parameters: []backends.Parameter{{Name: "p1", Value: ""}}}},
	}
	for i, a := range requests {
		ka := newKey(a.id, a.in, sum)
		for _, b := range requests[:i] {
			kb := newKey(b.id, b.in, sum)
			if ka.equal(kb) || ka.matches(kb.bytes()) || kb.matches(ka.bytes()) || ka.digest == kb.digest {
				t.Errorf("%q and %q have the same key", a.situation, b.situation)
			}
		}
	}
}

func TestKeyIgnoresTheOrderOfInputs(t *testing.T) {
	x, y, z := floats("x", 1, 2), floats("y", 3), floats("z", 1)
	x.Data[0], y.Data[0], z.Data[0] = 1, 2, 3
	given := []backends.Tensor{z, x, y}
	a := newKey("a", backends.Batch{Tensors: []backends.Tensor{x, y, z}}, sum)
	b := newKey("a", backends.Batch{Tensors: given}, sum)
	if !a.equal(b) || !a.matches(b.bytes()) || a.digest != b.digest {
		t.Errorf("the key depends on the order of inputs")
	}
	if given[0].Name != "z" {
		t.Errorf("newKey reorders the caller's inputs")
	}
}

// reader makes small requests out of arbitrary bytes, from few letters and lengths so that
// different requests often have the same bytes in other places.
type reader []byte

func (r *reader) upTo(n int) int {
	if len(*r) == 0 {
		return 0
	}
	b := (*r)[0]
	*r = (*r)[1:]
	return int(b) % (n + 1)
}

func (r *reader) text() string {
	s := []byte{}
	for range r.upTo(3) {
		s = append(s, byte(r.upTo(3)))
	}
	return string(s)
}

func (r *reader) request() (id string, in backends.Batch) {
	id = r.text()
	for range r.upTo(3) {
		t := backends.Tensor{Name: r.text(), Datatype: backends.Datatype(r.upTo(3)), Data: []byte(r.text())}
		for range r.upTo(3) {
			t.Shape = append(t.Shape, int64(r.upTo(300)))
		}
		if _, repeated := in.Tensor(t.Name); !repeated {
			in.Tensors = append(in.Tensors, t)
		}
	}
	if r.upTo(1) == 1 {
		in.Outputs = []string{}
	}
	for range r.upTo(2) {
		in.Outputs = append(in.Outputs, r.text())
	}
	for range r.upTo(2) {
		in.Parameters = append(in.Parameters, backends.Parameter{Name: r.text(), Value: r.text()})
	}
	return id, in
}

// FuzzKey holds keys against the comparison of whole requests.
func FuzzKey(f *testing.F) {
	f.Add([]byte{}, []byte{})
	f.Add([]byte{1, 2, 1, 1, 1, 1, 1, 1}, []byte{1, 2, 1, 1, 1, 1, 1})
	f.Add([]byte{2, 0, 0, 2, 1, 1, 1, 0, 2, 1, 1, 3}, []byte{1, 0, 2, 1, 1, 1, 0, 2, 1, 1, 3, 2, 1})
	f.Add([]byte{0, 0, 0, 1, 1}, []byte{0, 0, 1, 0, 1, 1})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		idA, inA := (*reader)(&a).request()
		idB, inB := (*reader)(&b).request()
		ka, kb := newKey(idA, inA, sum), newKey(idB, inB, sum)
		_, inA.Tensors = inA.AppendCanonical(nil)
		_, inB.Tensors = inB.AppendCanonical(nil)
		same := idA == idB && reflect.DeepEqual(inA, inB)
		if ka.equal(kb) != same || ka.matches(kb.bytes()) != same || bytes.Equal(ka.bytes(), kb.bytes()) != same {
			t.Errorf("%q %+v and %q %+v: keys say the same %v, want %v", idA, inA, idB, inB, ka.equal(kb), same)
		}
		if same && ka.digest != kb.digest {
			t.Errorf("%q %+v has two digests", idA, inA)
		}
		if !ka.matches(ka.bytes()) || ka.matches(append(ka.bytes(), 0)) {
			t.Errorf("%q %+v does not match its own bytes alone", idA, inA)
		}
	})
}
