package cpu

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/thrumserve/thrum/backends"
)

// TestProductsInPlaceAgainstCopies multiplies operands that stand in any order, stretch over
// any batch dimensions and get something added, and compares with transposing and multiplying
// one after the other.
func TestProductsInPlaceAgainstCopies(t *testing.T) {
	r := &run{engine: testEngine(t), limit: MaxTensorBytes}
	random := rand.New(rand.NewPCG(5, 6))
	for range 400 {
		c := randomProduct(t, r, random)
		got, want := new(tensor), c.plain(t, r)
		if err := c.kernel(r, c.in, []*tensor{got}); err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		if !slices.Equal(got.shape, want.shape) {
			t.Fatalf("%+v of %v and %v has shape %v, want %v", c.batched, c.in[0].shape, c.in[1].shape, got.shape, want.shape)
		}
		for i, w := range view[float32](want) {
			if v := view[float32](got)[i]; math.Abs(float64(v-w)) > 1e-4 {
				t.Fatalf("%+v of %v and %v: element %d is %v, want %v", c.batched, c.in[0].shape, c.in[1].shape, i, v, w)
			}
		}
	}
}

// productCase is a product and its inputs: A and B, and perhaps what is added.
type productCase struct {
	batched
	in []*tensor
}

func randomProduct(t *testing.T, r *run, random *rand.Rand) productCase {
	size := func() int { return []int{1, 2, 3, 5, 17}[random.IntN(5)] }
	m, n, k := size(), size(), size()
	batch := make([]int, random.IntN(4))
	for d := range batch {
		batch[d] = 1 + random.IntN(3)
	}
	whole := append(slices.Clone(batch), m, n)
	c := productCase{batched: batched{alpha: 0.5}}
	c.permA = random.Perm(len(batch) + 2)
	c.permB = random.Perm(len(batch) + 2)
	c.permOut = random.Perm(len(batch) + 2)
	for _, perm := range []*[]int{&c.permA, &c.permB, &c.permOut} {
		if random.IntN(3) == 0 {
			*perm = nil
		}
	}
	batchB := slices.Clone(batch)
	for d := range batchB { // B, or a part of it, is one for all
		if random.IntN(3) == 0 {
			batchB[d] = 1
		}
	}
	c.in = []*tensor{
		stored(t, r, random, append(slices.Clone(batch), m, k), c.permA),
		stored(t, r, random, append(batchB, k, n), c.permB),
	}
	if random.IntN(2) == 0 {
		c.in = append(c.in, stored(t, r, random, someOf(random, whole), nil))
	}
	return c
}

// stored returns a tensor of random numbers that perm makes one of the given shape.
func stored(t *testing.T, r *run, random *rand.Rand, shape, perm []int) *tensor {
	t.Helper()
	x := new(tensor)
	if perm != nil {
		turned := make([]int, len(shape))
		for i, p := range perm {
			turned[p] = shape[i]
		}
		shape = turned
	}
	if err := r.makeTensor(x, backends.FP32, shape); err != nil {
		t.Fatal(err)
	}
	for i := range view[float32](x) {
		view[float32](x)[i] = random.Float32() - 0.5
	}
	return x
}

// plain computes the product step by step.
func (c productCase) plain(t *testing.T, r *run) *tensor {
	t.Helper()
	turn := func(x *tensor, perm []int) *tensor {
		if perm == nil {
			return x
		}
		y := new(tensor)
		if err := r.transpose(y, x, perm); err != nil {
			t.Fatal(err)
		}
		return y
	}
	y := new(tensor)
	if err := matMul[float32](backends.FP32)(r, []*tensor{turn(c.in[0], c.permA), turn(c.in[1], c.permB)}, []*tensor{y}); err != nil {
		t.Fatal(err)
	}
	mulLoop(view[float32](y), view[float32](y), []float32{c.alpha})
	if len(c.in) > 2 {
		sum := new(tensor)
		if err := broadcasting(backends.FP32, addLoop[float32])(r, []*tensor{y, c.in[2]}, []*tensor{sum}); err != nil {
			t.Fatal(err)
		}
		y = sum
	}
	return turn(y, c.permOut)
}
