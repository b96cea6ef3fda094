package cpu

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
	"github.com/thrumserve/thrum/backends/onnx"
)

// TestPadsFollowTheSizeOfEachRequest runs one convolution on rows of several lengths, for which
// auto_pad means different pads.
func TestPadsFollowTheSizeOfEachRequest(t *testing.T) {
	tests := []struct {
		auto string
		x    []float32
		want []float32 // of weights 1, 10 and 100, two apart
	}{
		{"SAME_UPPER", []float32{1, 2, 3, 4, 5}, []float32{210, 432, 54}},
		{"SAME_UPPER", []float32{1, 2, 3, 4, 5, 6}, []float32{321, 543, 65}},
		{"SAME_LOWER", []float32{1, 2, 3, 4, 5, 6}, []float32{210, 432, 654}},
		{"VALID", []float32{1, 2, 3, 4, 5, 6}, []float32{321, 543}},
	}
	plans := map[string]func(x []float32) []float32{}
	for _, test := range tests {
		if plans[test.auto] == nil {
			plans[test.auto] = convolved(t, test.auto)
		}
		if got := plans[test.auto](test.x); !slices.Equal(got, test.want) {
			t.Errorf("%s of %v = %v, want %v", test.auto, test.x, got, test.want)
		}
	}
}

// convolved returns a model of one convolution.
func convolved(t *testing.T, auto string) func(x []float32) []float32 {
	var s sketch
	x := s.input("x", backends.FP32, -1, 1, -1)
	s.output(s.node("Conv", onnx.Attrs{"auto_pad": auto, "strides": []int64{2}}, x, s.constant(floats("w", []int64{1, 1, 3}, 1, 10, 100))))
	p, r := planOf(t, &s)
	return func(x []float32) []float32 {
		got, err := p.execute(t.Context(), r, []backends.Tensor{floats("x", []int64{1, 1, int64(len(x))}, x...)}, p.outputs)
		if err != nil {
			t.Fatal(err)
		}
		return floatsOf(got[0])
	}
}

func TestPaddedPlanesAreBounded(t *testing.T) {
	const far = 1 << 23
	var s sketch
	x := s.input("x", backends.FP32, -1, 1, 4, 4)
	s.output(s.node("Conv", onnx.Attrs{"pads": []int64{far, far, far, far}, "strides": []int64{far, far}}, x, s.constant(wave("w", 1, 1, 1, 1, 1))))
	p, r := planOf(t, &s)
	_, err := p.execute(t.Context(), r, []backends.Tensor{wave("x", 1, 1, 1, 4, 4)}, p.outputs)
	if !errors.Is(err, backends.ErrInvalid) || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("execute with pads of %d = %v, want ErrInvalid that says larger than", far, err)
	}
}

// Where the size of the planes is known at load a convolution of 3x3 may be computed by tiles, with the same
// results to rounding, and for planes of other sizes, too.
func TestConvolutionsByTiles(t *testing.T) {
	w, bias := wave("w", 2, 32, 32, 3, 3), wave("b", 3, 32)
	by := func(height, width int64) func(x backends.Tensor) []float32 {
		var s sketch
		x := s.input("x", backends.FP32, -1, 32, height, width)
		s.output(s.node("Conv", onnx.Attrs{"pads": []int64{1, 1, 1, 1}}, x, s.constant(w), s.constant(bias)))
		p, r := planOf(t, &s)
		return func(x backends.Tensor) []float32 {
			got, err := p.execute(t.Context(), r, []backends.Tensor{x}, p.outputs)
			if err != nil {
				t.Fatal(err)
			}
			return floatsOf(got[0])
		}
	}
	plain, tiled := by(-1, -1), by(28, 30)
	for _, shape := range [][]int64{{2, 32, 28, 30}, {1, 32, 5, 9}} {
		x := wave("x", 1, shape...)
		got, want := tiled(x), plain(x)
		largest, differ := slices.Max(want), false
		for i := range want {
			differ = differ || got[i] != want[i]
			if d := got[i] - want[i]; max(d, -d) > 4e-5*largest {
				t.Fatalf("x of shape %v: result %d is %v, want %v", shape, i, got[i], want[i])
			}
		}
		c := kernels.Conv{Channels: 32, Filters: 32, Window: kernels.Window{Kernel: [2]int{3, 3}}}
		if byTiles := c.Method([2]int{28, 30}, kernels.FP32) != kernels.AnySize; differ != byTiles {
			t.Errorf("x of shape %v: last bits that differ: %v, with tiles: %v", shape, differ, byTiles)
		}
	}
}
