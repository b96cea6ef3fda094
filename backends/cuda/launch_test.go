package cuda

import (
	"errors"
	"strings"
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cuda/lower"
)

// TestGemmArguments holds what a product is launched with against the kernel's parameters: addresses
// of A, B and C, sizes, the strides of rows, and those of both dimensions of the batch.
func TestGemmArguments(t *testing.T) {
	places := map[*lower.Buffer]uint64{}
	matrix := func(at uint64, offset int64, shape, strides []int64) lower.Tensor {
		b := &lower.Buffer{}
		places[b] = at
		return lower.Tensor{Buffer: b, Type: backends.FP16, Offset: offset, Shape: shape, Strides: strides}
	}
	b := binding{address: func(b *lower.Buffer) uint64 { return places[b] }}
	for _, c := range []struct {
		situation string
		b         lower.Tensor
		name      string
		want      []uint64 // of the arguments, the first 16
	}{
		{"rows of B", matrix(2000, 0, []int64{2, 3, 5, 7}, []int64{105, 35, 7, 1}), "gemm_f16_nn_64",
			[]uint64{1020, 2000, 3000, 4, 7, 5, 50, 7, 7, 3, 600, 200, 105, 35, 84, 28}},
		{"columns of B, the same for all", matrix(2000, 4, []int64{2, 3, 5, 7}, []int64{0, 0, 1, 5}), "gemm_f16_nt_64",
			[]uint64{1020, 2008, 3000, 4, 7, 5, 50, 5, 7, 3, 600, 200, 0, 0, 84, 28}},
	} {
		o := &lower.Op{Node: "n", Kind: lower.Gemm{Alpha: 1}, In: []lower.Tensor{
			matrix(1000, 10, []int64{2, 3, 4, 5}, []int64{600, 200, 50, 1}), c.b, {}, {},
		}, Out: []lower.Tensor{matrix(3000, 0, []int64{2, 3, 4, 7}, []int64{84, 28, 7, 1})}}
		all, err := b.launches(&lower.Program{Ops: []*lower.Op{o}})
		if err != nil || len(all) != 1 || all[0].Name != c.name {
			t.Errorf("%s: launches = %+v, %v, want %s", c.situation, all, err, c.name)
			continue
		}
		for i, want := range c.want {
			if got := all[0].Args[i]; got != want {
				t.Errorf("%s: argument %d is %d, want %d", c.situation, i, got, want)
			}
		}
	}
}

func TestWhatNoKernelDoesIsNamed(t *testing.T) {
	x := lower.Tensor{Buffer: &lower.Buffer{}, Type: backends.FP64, Shape: []int64{1}, Strides: []int64{1}}
	for want, o := range map[string]*lower.Op{
		`operation Map (node "wide"): no kernel computes FP64`: {Node: "wide", Kind: lower.Map{}, In: []lower.Tensor{x}, Out: []lower.Tensor{x}},
	} {
		_, err := binding{address: func(*lower.Buffer) uint64 { return 0 }}.launches(&lower.Program{Ops: []*lower.Op{o}})
		if !errors.Is(err, backends.ErrUnsupported) || !strings.Contains(err.Error(), want) {
			t.Errorf("launches = %v, want an ErrUnsupported with %q", err, want)
		}
	}
}
