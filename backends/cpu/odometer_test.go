package cpu

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/thrumserve/thrum/backends"
)

// TestTransposeAgainstIndexArithmetic covers all orders of up to four dimensions, with sizes
// around the block that is copied at a time, 1 and 0 among them.
func TestTransposeAgainstIndexArithmetic(t *testing.T) {
	r := &run{engine: testEngine(t), limit: MaxTensorBytes}
	random := rand.New(rand.NewPCG(1, 2))
	sizes := []int{0, 1, 2, 3, 16, 17, 33}
	for range 300 {
		shape := make([]int, 1+random.IntN(4))
		for d := range shape {
			shape[d] = sizes[random.IntN(len(sizes))]
		}
		perm := random.Perm(len(shape))
		src, dst := counted(t, r, shape), new(tensor)
		if err := r.transpose(dst, src, perm); err != nil {
			t.Fatal(err)
		}
		want := make([]int32, product(shape))
		steps := strides(shape)
		for i := range want {
			rest := i
			for d := len(perm) - 1; d >= 0; d-- {
				want[i] += int32(rest % shape[perm[d]] * steps[perm[d]])
				rest /= shape[perm[d]]
			}
		}
		if got := view[int32](dst); !slices.Equal(got, want) {
			t.Fatalf("transpose of %v by %v = %v, want %v", shape, perm, got, want)
		}
	}
}

// counted returns the tensor of 0, 1, 2 and so on.
func counted(t *testing.T, r *run, shape []int) *tensor {
	t.Helper()
	c := new(tensor)
	if err := r.makeTensor(c, backends.Int32, shape); err != nil {
		t.Fatal(err)
	}
	for i := range view[int32](c) {
		view[int32](c)[i] = int32(i)
	}
	return c
}

// TestBroadcastAgainstIndexArithmetic subtracts tensors of which any dimension may stretch; the
// large ones are computed on several threads.
func TestBroadcastAgainstIndexArithmetic(t *testing.T) {
	r := &run{engine: testEngine(t), limit: MaxTensorBytes}
	random := rand.New(rand.NewPCG(3, 4))
	sizes := []int{1, 2, 3, 70}
	for range 200 {
		whole := make([]int, 1+random.IntN(4))
		for d := range whole {
			whole[d] = sizes[random.IntN(len(sizes))]
		}
		a, b := counted(t, r, someOf(random, whole)), counted(t, r, someOf(random, whole))
		out := new(tensor)
		if err := broadcasting(backends.Int32, subLoop[int32])(r, []*tensor{a, b}, []*tensor{out}); err != nil {
			t.Fatal(err)
		}
		for i, got := range view[int32](out) {
			if want := int32(stretchedIndex(i, out.shape, a.shape) - stretchedIndex(i, out.shape, b.shape)); got != want {
				t.Fatalf("element %d of %v - %v is %v, want %v", i, a.shape, b.shape, got, want)
			}
		}
	}
}

// someOf returns shape with some dimensions of size 1 and some of the first left out.
func someOf(random *rand.Rand, shape []int) []int {
	s := slices.Clone(shape[random.IntN(len(shape)):])
	for d := range s {
		if random.IntN(3) == 0 {
			s[d] = 1
		}
	}
	return s
}

// stretchedIndex returns which element of a tensor of shape from is element i of it stretched.
func stretchedIndex(i int, to, from []int) int {
	at, step := 0, 1
	for d := 1; d <= len(from); d++ {
		n := from[len(from)-d]
		if n > 1 {
			at += i % to[len(to)-d] * step
		}
		i /= to[len(to)-d]
		step *= n
	}
	return at
}

// TestSliceAsPython compares against the indices that Python's slices have.
func TestSliceAsPython(t *testing.T) {
	const huge = 1<<63 - 1
	tests := []struct {
		start, end, step int
		want             []int // of 5
	}{
		{0, 5, 1, []int{0, 1, 2, 3, 4}},
		{1, huge, 2, []int{1, 3}},
		{-2, huge, 1, []int{3, 4}},
		{-huge, -1, 1, []int{0, 1, 2, 3}},
		{3, 1, 1, nil},
		{0, 5, huge, []int{0}},
		{huge, -huge, -1, []int{4, 3, 2, 1, 0}},
		{-1, -6, -2, []int{4, 2, 0}},
		{3, 0, -1, []int{3, 2, 1}},
		{4, -huge, -huge, []int{4}},
		{0, 5, -1, nil},
		{7, 9, 1, nil},
		{-9, -7, -1, nil},
	}
	for _, test := range tests {
		first, n, err := sliced(5, test.start, test.end, test.step)
		var got []int
		for i := range n {
			got = append(got, first+i*test.step)
		}
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("sliced(5, %d, %d, %d) = %v, %v, want %v", test.start, test.end, test.step, got, err, test.want)
		}
	}
}
