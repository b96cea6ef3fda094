package batching

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/thrumserve/thrum/backends"
)

func TestStackingKey(t *testing.T) {
	tensor := func(name string, d backends.Datatype, shape ...int64) backends.Tensor {
		return backends.Tensor{Name: name, Datatype: d, Shape: shape}
	}
	x := []backends.Tensor{tensor("x", backends.FP32, 1, 4)}
	different := []struct {
		situation string
		in        backends.Batch
	}{
		{"plain", backends.Batch{Tensors: x}},
		{"other name", backends.Batch{Tensors: []backends.Tensor{tensor("z", backends.FP32, 1, 4)}}},
		{"other datatype", backends.Batch{Tensors: []backends.Tensor{tensor("x", backends.Int32, 1, 4)}}},
		{"other row shape", backends.Batch{Tensors: []backends.Tensor{tensor("x", backends.FP32, 1, 5)}}},
		{"more dimensions", backends.Batch{Tensors: []backends.Tensor{tensor("x", backends.FP32, 1, 4, 1)}}},
		{"one more input", backends.Batch{Tensors: append(slices.Clone(x), tensor("y", backends.FP32, 1))}},
		{"no outputs wanted", backends.Batch{Tensors: x, Outputs: []string{}}},
		{"outputs a, b", backends.Batch{Tensors: x, Outputs: []string{"a", "b"}}},
		{"outputs b, a", backends.Batch{Tensors: x, Outputs: []string{"b", "a"}}},
		{"output ab", backends.Batch{Tensors: x, Outputs: []string{"ab"}}},
		{"parameter", backends.Batch{Tensors: x, Parameters: []backends.Parameter{{Name: "a", Value: "1"}}}},
		{"parameter of another value", backends.Batch{Tensors: x, Parameters: []backends.Parameter{{Name: "a", Value: "2"}}}},
		{"parameter cut elsewhere", backends.Batch{Tensors: x, Parameters: []backends.Parameter{{Name: "a1", Value: ""}}}},
	}
	for i, a := range different {
		for _, b := range different[:i] {
			if stackingKey(a.in) == stackingKey(b.in) {
				t.Errorf("%q and %q have the same key", a.situation, b.situation)
			}
		}
	}
	rows := backends.Batch{Tensors: []backends.Tensor{tensor("x", backends.FP32, 7, 4)}}
	if stackingKey(rows) != stackingKey(different[0].in) {
		t.Errorf("the key depends on the number of rows")
	}
}

func TestInOrder(t *testing.T) {
	specs := []backends.TensorSpec{{Name: "c"}, {Name: "a"}, {Name: "b"}}
	for _, test := range []struct{ given, want string }{
		{"", ""}, {"c", "c"}, {"b", "b"}, {"cab", "cab"}, {"cb", "cb"}, {"bc", "cb"}, {"bac", "cab"}, {"abc", "cab"},
	} {
		var given []backends.Tensor
		for _, name := range test.given {
			given = append(given, backends.Tensor{Name: string(name)})
		}
		before := slices.Clone(given)
		got := ""
		for _, tensor := range inOrder(given, specs) {
			got += tensor.Name
		}
		if got != test.want {
			t.Errorf("inOrder(%s) = %s, want %s", test.given, got, test.want)
		}
		if !reflect.DeepEqual(given, before) {
			t.Errorf("inOrder(%s) changed what it was given", test.given)
		}
	}
}

// randomRows returns a batch with a fixed-size, a BYTES and a many-dimensional tensor whose
// contents are unlikely to repeat.
func randomRows(r *rand.Rand, rows int) backends.Batch {
	words := []byte{}
	for range rows * 2 {
		words = backends.AppendBytesElement(words, []byte(fmt.Sprint(r.Uint64()))[:r.IntN(9)])
	}
	noise := func(n int) []byte {
		data := make([]byte, n)
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		return data
	}
	n := int64(rows)
	return backends.Batch{Tensors: []backends.Tensor{
		{Name: "x", Datatype: backends.FP32, Shape: []int64{n, 3}, Data: noise(rows * 12)},
		{Name: "words", Datatype: backends.Bytes, Shape: []int64{n, 2}, Data: words},
		{Name: "pixels", Datatype: backends.Uint8, Shape: []int64{n, 2, 5}, Data: noise(rows * 10)},
		{Name: "id", Datatype: backends.Int64, Shape: []int64{n}, Data: noise(rows * 8)},
		{Name: "nothing", Datatype: backends.FP64, Shape: []int64{n, 0}, Data: []byte{}},
	}}
}

func TestSplitUndoesStack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var calls []*call
		rows := 0
		for range 2 + r.IntN(6) {
			n := 1 + r.IntN(5)
			calls = append(calls, &call{in: randomRows(r, n), rows: n})
			rows += n
		}
		stacked := stack(calls, rows)
		if err := checkRows(stacked, rows); err != nil {
			t.Fatalf("stacked: %v", err)
		}
		split(stacked, rows, calls)
		for i, c := range calls {
			if !reflect.DeepEqual(c.out.Tensors, c.in.Tensors) {
				t.Fatalf("call %d of %d got %v, want %v", i, len(calls), c.out.Tensors, c.in.Tensors)
			}
			for _, part := range c.out.Tensors {
				if cap(part.Data) != len(part.Data) {
					t.Fatalf("call %d: output %q can grow into its neighbour's rows", i, part.Name)
				}
			}
		}
	}
}

func TestStackLeavesInputsAlone(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	calls := []*call{{in: randomRows(r, 2), rows: 2}, {in: randomRows(r, 1), rows: 1}}
	calls[1].in.NoCache = true
	before := bytes.Clone(calls[0].in.Tensors[0].Data)
	stacked := stack(calls, 3)
	stacked.Tensors[0].Data[0]++
	stacked.Tensors[0].Shape[0] = 99
	if !bytes.Equal(calls[0].in.Tensors[0].Data, before) || calls[0].in.Tensors[0].Shape[0] != 2 {
		t.Errorf("the stacked batch shares memory with a call")
	}
	if !stacked.NoCache {
		t.Errorf("NoCache of one call is lost in the batch")
	}
}

func TestCheckRows(t *testing.T) {
	tensor := func(data int, shape ...int64) backends.Batch {
		return backends.Batch{Tensors: []backends.Tensor{{Name: "y", Datatype: backends.FP32, Shape: shape, Data: make([]byte, data)}}}
	}
	for _, test := range []struct {
		situation string
		out       backends.Batch
		want      string
	}{
		{"right", tensor(24, 3, 2), ""},
		{"too few rows", tensor(16, 2, 2), `the model answered 3 rows with output "y" of shape [2 2]`},
		{"too many rows", tensor(32, 4, 2), `the model answered 3 rows with output "y" of shape [4 2]`},
		{"a scalar", tensor(4), `the model answered 3 rows with output "y" of shape []`},
		{"short data", tensor(20, 3, 2), `the model answered 3 rows with a damaged output: tensor "y": 20 bytes of data do not fit shape [3 2] of FP32 (6 elements of 4 bytes)`},
		{"no datatype", backends.Batch{Tensors: []backends.Tensor{{Name: "y", Shape: []int64{3}}}},
			`the model answered 3 rows with a damaged output: tensor "y": no datatype`},
	} {
		t.Run(test.situation, func(t *testing.T) {
			err := checkRows(test.out, 3)
			if text(err) != test.want {
				t.Errorf("checkRows = %q, want %q", text(err), test.want)
			}
			if is(err, backends.ErrInvalid) {
				t.Errorf("checkRows = %v blames the client", err)
			}
		})
	}
}

func TestQueueKeepsOrderAndRows(t *testing.T) {
	var q queue
	calls := make([]*call, 6)
	for i := range calls {
		calls[i] = &call{rows: i + 1, key: fmt.Sprint(i)}
		q.push(calls[i])
	}
	check := func(did string, want ...int) {
		t.Helper()
		rows := 0
		var got []int
		for i, c := range q.calls {
			got = append(got, c.rows)
			rows += c.rows
			if w := (Waiting{Rows: c.rows, Key: c.key}); q.waiting[i] != w {
				t.Errorf("%s: waiting[%d] = %+v, want %+v", did, i, q.waiting[i], w)
			}
		}
		if !slices.Equal(got, want) || q.rows != rows || len(q.waiting) != len(q.calls) {
			t.Errorf("%s: calls %v with %d rows, want %v", did, got, q.rows, want)
		}
	}
	check("pushed", 1, 2, 3, 4, 5, 6)
	if taken := q.take([]int{0, 2, 5}); !slices.Equal(taken, []*call{calls[0], calls[2], calls[5]}) {
		t.Errorf("take gave the wrong calls")
	}
	check("took 0, 2, 5", 2, 4, 5)
	q.remove(calls[3])
	check("removed the one in the middle", 2, 5)
	q.remove(calls[3])
	check("removed it again", 2, 5)
	if last := q.calls[:6][2:]; slices.ContainsFunc(last, func(c *call) bool { return c != nil }) {
		t.Errorf("the queue keeps gone calls alive")
	}
	q.take([]int{0, 1})
	check("took all")
}
