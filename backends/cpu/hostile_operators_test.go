package cpu

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/onnx"
)

// TestInputsThatLaterOperatorsCannotServe is TestInputsThatNoRunCanServe for operators with
// state, grids, boxes, caches and choices.
func TestInputsThatLaterOperatorsCannotServe(t *testing.T) {
	heads := onnx.Attrs{"q_num_heads": int64(2), "kv_num_heads": int64(1)}
	tests := []struct {
		name string
		op   string
		at   onnx.Attrs
		in   []backends.Tensor
		want string
	}{
		{"weights of another width", "LSTM", nil, []backends.Tensor{wave("x", 1, 2, 1, 3), wave("w", 1, 1, 8, 4), wave("r", 1, 1, 8, 2)}, "weights of 4 columns"},
		{"weights of other gates", "GRU", nil, []backends.Tensor{wave("x", 1, 2, 1, 3), wave("w", 1, 1, 8, 3), wave("r", 1, 1, 8, 2)}, "for 3 gates"},
		{"state of another batch", "RNN", nil, []backends.Tensor{wave("x", 1, 2, 1, 3), wave("w", 1, 1, 2, 3), wave("r", 1, 1, 2, 2), wave("b", 1, 1, 4), {Name: "l", Datatype: backends.Int32, Shape: []int64{1}, Data: []byte{1, 0, 0, 0}}, wave("h", 1, 1, 2, 2)}, "an initial state of shape [1 2 2]"},
		{"sequence longer than there is", "RNN", nil, []backends.Tensor{wave("x", 1, 2, 1, 3), wave("w", 1, 1, 2, 3), wave("r", 1, 1, 2, 2), wave("b", 1, 1, 4), {Name: "l", Datatype: backends.Int32, Shape: []int64{1}, Data: []byte{3, 0, 0, 0}}}, "at most 2 steps"},
		{"heads that do not divide", "Attention", heads, []backends.Tensor{wave("q", 1, 1, 2, 3), wave("k", 1, 1, 2, 3), wave("v", 1, 1, 2, 3)}, "in 2 heads"},
		{"keys of another width", "Attention", nil, []backends.Tensor{wave("q", 1, 1, 2, 3, 4), wave("k", 1, 1, 2, 3, 5), wave("v", 1, 1, 2, 3, 4)}, "keys of shape"},
		{"mask of more keys", "Attention", nil, []backends.Tensor{wave("q", 1, 1, 2, 3, 4), wave("k", 1, 1, 2, 3, 4), wave("v", 1, 1, 2, 3, 4), wave("m", 1, 3, 4)}, "a mask of shape [3 4]"},
		{"cache of other heads", "Attention", nil, []backends.Tensor{wave("q", 1, 1, 2, 3, 4), wave("k", 1, 1, 2, 3, 4), wave("v", 1, 1, 2, 3, 4), wave("m", 1, 3, 4), wave("pk", 1, 1, 1, 1, 4), wave("pv", 1, 1, 2, 1, 4)}, "a cache of shape"},
		{"position beyond the table", "RotaryEmbedding", nil, []backends.Tensor{wave("x", 1, 1, 1, 2, 4), wave("c", 1, 3, 2), wave("s", 1, 3, 2), integers64("p", []int64{1, 2}, 0, 3)}, "position 3"},
		{"decay of other heads", "LinearAttention", onnx.Attrs{"q_num_heads": int64(2), "kv_num_heads": int64(2), "update_rule": "gated"}, []backends.Tensor{wave("q", 1, 1, 2, 4), wave("k", 1, 1, 2, 4), wave("v", 1, 1, 2, 4), wave("p", 1, 1, 2, 2, 2), wave("d", 1, 1, 2, 3)}, "it needs 4 or 2 values"},
		{"convolution of other channels", "CausalConvWithState", nil, []backends.Tensor{wave("x", 1, 1, 2, 4), wave("w", 1, 3, 1, 2)}, "with weights of shape"},
		{"transform of nothing", "DFT", nil, []backends.Tensor{wave("x", 1, 1, 4, 1), integers64("n", nil, 0)}, "a transform of 0 elements"},
		{"transform without end", "DFT", nil, []backends.Tensor{wave("x", 1, 1, 4, 1), integers64("n", nil, 1<<40)}, "elements"},
		{"frames by nothing", "STFT", nil, []backends.Tensor{wave("x", 1, 1, 8, 1), integers64("s", nil, 0), wave("w", 1, 4)}, "frames of 4 elements"},
		{"window longer than the signal", "STFT", nil, []backends.Tensor{wave("x", 1, 1, 8, 1), integers64("s", nil, 1), wave("w", 1, 9)}, "frames of 9 elements"},
		{"window of a huge size", "HannWindow", nil, []backends.Tensor{integers64("n", nil, 1<<50)}, "larger than"},
		{"bands without end", "MelWeightMatrix", nil, []backends.Tensor{integers64("n", nil, 1<<50), integers64("l", nil, 8), integers64("r", nil, 16), floats("a", nil, 0), floats("b", nil, 8)}, "bands"},
		{"grid of other dimensions", "GridSample", nil, []backends.Tensor{wave("x", 1, 1, 1, 4, 4), wave("g", 1, 1, 2, 2, 3)}, "a grid of shape"},
		{"map of another size", "AffineGrid", nil, []backends.Tensor{wave("m", 1, 1, 2, 3), integers64("s", []int64{4}, 2, 1, 4, 4)}, "maps of shape"},
		{"grid without end", "AffineGrid", nil, []backends.Tensor{wave("m", 1, 1, 2, 3), integers64("s", []int64{4}, 1, 1, 1<<40, 1<<20)}, "larger than"},
		{"region of no image", "RoiAlign", nil, []backends.Tensor{wave("x", 1, 1, 1, 4, 4), wave("r", 1, 1, 4), integers64("b", []int64{1}, 1)}, "index 1"},
		{"region without end", "RoiAlign", nil, []backends.Tensor{wave("x", 1, 1, 1, 4, 4), floats("r", []int64{1, 4}, 0, 0, 1e30, 1), integers64("b", []int64{1}, 0)}, "a region from"},
		{"boxes of three numbers", "NonMaxSuppression", nil, []backends.Tensor{wave("b", 1, 1, 2, 3), wave("s", 1, 1, 1, 2)}, "boxes of shape"},
		{"blocks that do not cover", "Col2Im", nil, []backends.Tensor{wave("x", 1, 1, 4, 7), integers64("i", []int64{2}, 4, 4), integers64("b", []int64{2}, 2, 2)}, "7 columns"},
		{"image without end", "Col2Im", nil, []backends.Tensor{wave("x", 1, 1, 4, 7), integers64("i", []int64{2}, 1<<40, 4), integers64("b", []int64{2}, 2, 2)}, "columns of shape"},
		{"crop to a negative size", "CenterCropPad", nil, []backends.Tensor{wave("x", 1, 4), integers64("n", []int64{1}, -4)}, "sizes [-4]"},
		{"pad without end", "CenterCropPad", nil, []backends.Tensor{wave("x", 1, 4), integers64("n", []int64{1}, 1<<50)}, "larger than"},
		{"place beyond the planes", "MaxUnpool", onnx.Attrs{"kernel_shape": []int64{2}, "strides": []int64{2}}, []backends.Tensor{wave("x", 1, 1, 1, 2), integers64("i", []int64{1, 1, 2}, 0, 4)}, "place 4"},
		{"planes smaller than the places", "MaxUnpool", onnx.Attrs{"kernel_shape": []int64{2}, "strides": []int64{2}}, []backends.Tensor{wave("x", 1, 1, 1, 2), integers64("i", []int64{1, 1, 2}, 0, 3), integers64("o", []int64{3}, 1, 1, 2)}, "place 3"},
		{"offsets of other planes", "DeformConv", nil, []backends.Tensor{wave("x", 1, 1, 1, 4, 4), wave("w", 1, 1, 1, 2, 2), wave("o", 1, 1, 8, 4, 4)}, "offsets of shape"},
		{"more conditions than slices", "Compress", onnx.Attrs{"axis": int64(0)}, []backends.Tensor{wave("x", 1, 1), bools("c", 1, 1)}, "for 1 slices"},
		{"sequence longer than the time", "ReverseSequence", nil, []backends.Tensor{wave("x", 1, 2, 1), integers64("l", []int64{1}, 3)}, "length 3"},
		{"place beyond the cache", "TensorScatter", nil, []backends.Tensor{wave("c", 1, 1, 4, 2), wave("u", 1, 1, 2, 2), integers64("p", []int64{1}, 3)}, "at place 3"},
		{"place before the cache", "TensorScatter", onnx.Attrs{"mode": "circular"}, []backends.Tensor{wave("c", 1, 1, 4, 2), wave("u", 1, 1, 2, 2), integers64("p", []int64{1}, -1)}, "at place -1"},
		{"class that does not exist", "NegativeLogLikelihoodLoss", nil, []backends.Tensor{wave("x", 1, 1, 3), integers64("t", []int64{1}, 3)}, "target 3"},
		{"targets of another shape", "SoftmaxCrossEntropyLoss", nil, []backends.Tensor{wave("x", 1, 2, 3), integers64("t", []int64{1}, 0)}, "targets of shape"},
		{"matrix that is not square", "Det", nil, []backends.Tensor{wave("x", 1, 2, 3)}, "no square matrices"},
		{"gate of another shape", "SwiGLU", nil, []backends.Tensor{wave("a", 1, 2), wave("b", 1, 1)}, "a gate of shape"},
		{"sequence of three dimensions", "TfIdfVectorizer", onnx.Attrs{"mode": "TF", "min_gram_length": int64(1), "max_gram_length": int64(1), "max_skip_count": int64(0), "ngram_counts": []int64{0}, "ngram_indexes": []int64{0}, "pool_int64s": []int64{7}}, []backends.Tensor{integers64("x", []int64{1, 1, 1}, 7)}, "not of one or two dimensions"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var s sketch
			var in []*onnx.Value
			for _, b := range test.in {
				in = append(in, s.input(b.Name, b.Datatype, b.Shape...))
			}
			y := s.node(test.op, test.at, in...)
			y.Datatype = backends.FP32
			s.output(y)
			p, r := planOf(t, &s)
			_, err := p.execute(t.Context(), r, test.in, p.outputs)
			if !errors.Is(err, backends.ErrInvalid) || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), y.Name) {
				t.Errorf("execute = %v, want ErrInvalid that names node %q and says %q", err, y.Name, test.want)
			}
		})
	}
}

// TestAttributesThatNoRunCanServe builds nodes whose attributes contradict.
func TestAttributesThatNoRunCanServe(t *testing.T) {
	tests := []struct {
		op   string
		at   onnx.Attrs
		kind error
		want string
	}{
		{"LSTM", onnx.Attrs{"activations": []string{"Tanh"}}, backends.ErrInvalid, "it needs 3"},
		{"LSTM", onnx.Attrs{"activations": []string{"Tanh", "Tanh", "Cube"}}, backends.ErrUnsupported, `activation "Cube"`},
		{"GRU", onnx.Attrs{"direction": "sideways"}, backends.ErrInvalid, "sideways"},
		{"LpPool", onnx.Attrs{"kernel_shape": []int64{2}, "p": int64(0)}, backends.ErrInvalid, "p is 0"},
		{"GridSample", onnx.Attrs{"mode": "quintic"}, backends.ErrUnsupported, "quintic"},
		{"Attention", onnx.Attrs{"left_window_size": int64(-2)}, backends.ErrInvalid, "windows of -2"},
		{"LinearAttention", onnx.Attrs{"update_rule": "delta", "q_num_heads": int64(1), "kv_num_heads": int64(1)}, backends.ErrInvalid, `update_rule "delta"`},
		{"RoiAlign", onnx.Attrs{"sampling_ratio": int64(1 << 40)}, backends.ErrInvalid, "sampling_ratio"},
		{"ReverseSequence", onnx.Attrs{"batch_axis": int64(2)}, backends.ErrInvalid, "batch_axis 2"},
		{"SpaceToDepth", onnx.Attrs{"blocksize": int64(2), "mode": "RCD"}, backends.ErrInvalid, "RCD"},
		{"NegativeLogLikelihoodLoss", onnx.Attrs{"reduction": "product"}, backends.ErrInvalid, "product"},
	}
	for _, test := range tests {
		var s sketch
		x := s.input("x", backends.FP32, 1, 1, 4)
		s.node(test.op, test.at, x, x, x)
		_, err := build(s.Nodes[0], testEngine(t))
		if !errors.Is(err, test.kind) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("build of %s with %v = %v, want %v that says %q", test.op, test.at, err, test.kind, test.want)
		}
	}
}

// TestLongStepsEndWithTheContext gives steps of their own loops a context that has ended.
func TestLongStepsEndWithTheContext(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		op string
		in []backends.Tensor
	}{
		{"RNN", []backends.Tensor{wave("x", 1, 2, 1, 3), wave("w", 1, 1, 2, 3), wave("r", 1, 1, 2, 2)}},
		{"DFT", []backends.Tensor{wave("x", 1, 1, 4, 1)}},
		{"STFT", []backends.Tensor{wave("x", 1, 1, 8, 1), integers64("s", nil, 1), wave("w", 1, 4)}},
		{"Det", []backends.Tensor{wave("x", 1, 2, 2)}},
	}
	for _, test := range tests {
		var s sketch
		var in []*onnx.Value
		for _, b := range test.in {
			in = append(in, s.input(b.Name, b.Datatype, b.Shape...))
		}
		s.node(test.op, nil, in...)
		step, err := build(s.Nodes[0], testEngine(t))
		if err != nil {
			t.Fatal(err)
		}
		r := &run{engine: testEngine(t), ctx: ended, limit: MaxTensorBytes, values: make([]tensor, len(s.Values))}
		for i := range test.in {
			if err := r.values[i].importTensor(&test.in[i]); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.do(&step); !errors.Is(err, context.Canceled) {
			t.Errorf("%s = %v, want the end of the context", test.op, err)
		}
	}
}
