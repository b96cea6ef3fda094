package cpu

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/thrumserve/thrum/backends"
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
