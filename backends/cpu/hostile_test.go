package cpu

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/backendtest"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
	"github.com/thrumserve/thrum/backends/onnx"
)

// TestInputsThatNoRunCanServe gives values that a client controls to operators that would
// read outside of a tensor or take all memory.
func TestInputsThatNoRunCanServe(t *testing.T) {
	table := wave("table", 1, 10, 4)
	tests := []struct {
		name string
		op   string
		at   onnx.Attrs
		in   []backends.Tensor
		want string
	}{
		{"index beyond a table", "Gather", nil, []backends.Tensor{table, integers64("ids", []int64{2}, 3, 10)}, `indices "ids": index 10, element 1, is outside of [-10, 10)`},
		{"index far below a table", "Gather", nil, []backends.Tensor{table, integers64("ids", []int64{1}, -11)}, "index -11"},
		{"smallest index there is", "Gather", nil, []backends.Tensor{table, integers64("ids", []int64{1}, -1<<63)}, "index -9223372036854775808"},
		{"element index beyond", "GatherElements", nil, []backends.Tensor{table, integers64("ids", []int64{1, 1}, 10)}, "index 10"},
		{"element indices of more columns", "GatherElements", nil, []backends.Tensor{table, integers64("ids", []int64{1, 5}, 0, 0, 0, 0, 0)}, "shape [1 5]"},
		{"tuple index beyond", "GatherND", nil, []backends.Tensor{table, integers64("ids", []int64{1, 2}, 0, 4)}, "index 4"},
		{"tuples longer than the rank", "GatherND", nil, []backends.Tensor{table, integers64("ids", []int64{1, 3}, 0, 0, 0)}, "tuples"},
		{"scatter beyond", "ScatterElements", nil, []backends.Tensor{table, integers64("ids", []int64{1, 1}, 99), wave("u", 1, 1, 1)}, "index 99"},
		{"scatter of tuples beyond", "ScatterND", nil, []backends.Tensor{table, integers64("ids", []int64{1, 1}, 10), wave("u", 1, 1, 4)}, "index 10"},
		{"scatter of too few updates", "ScatterND", nil, []backends.Tensor{table, integers64("ids", []int64{1, 1}, 1), wave("u", 1, 1, 3)}, "updates"},
		{"tiles without end", "Tile", nil, []backends.Tensor{table, integers64("n", []int64{2}, 1<<31, 1<<31)}, "larger than"},
		{"tiles that overflow", "Tile", nil, []backends.Tensor{table, integers64("n", []int64{2}, 1<<62, 1<<62)}, "larger than"},
		{"negative tiles", "Tile", nil, []backends.Tensor{table, integers64("n", []int64{2}, -1, 1)}, "repeats"},
		{"expansion without end", "Expand", nil, []backends.Tensor{wave("x", 1, 1), integers64("n", []int64{3}, 1<<40, 1<<20, 1<<20)}, "larger than"},
		{"constant of a huge shape", "ConstantOfShape", nil, []backends.Tensor{integers64("n", []int64{2}, 1<<40, 1<<40)}, "larger than"},
		{"constant of a negative shape", "ConstantOfShape", nil, []backends.Tensor{integers64("n", []int64{1}, -5)}, "larger than"},
		{"range without end", "Range", nil, []backends.Tensor{integers64("a", nil, 0), integers64("b", nil, 1<<62), integers64("c", nil, 1)}, "range"},
		{"range by nothing", "Range", nil, []backends.Tensor{integers64("a", nil, 0), integers64("b", nil, 5), integers64("c", nil, 0)}, "range"},
		{"resize without end", "Resize", nil, []backends.Tensor{table, floats("roi", []int64{0}), floats("s", []int64{2}, 1e6, 1e6)}, "larger than"},
		{"resize by nothing", "Resize", nil, []backends.Tensor{table, floats("roi", []int64{0}), floats("s", []int64{2}, 0, 1)}, "scale"},
		{"pads without end", "Pad", nil, []backends.Tensor{table, integers64("p", []int64{4}, 1<<30, 1<<30, 0, 0)}, "larger than"},
		{"pads that overflow", "Pad", nil, []backends.Tensor{table, integers64("p", []int64{4}, 1<<62, 1<<62, 1<<62, 1<<62)}, "pad of"},
		{"one-hot of a huge depth", "OneHot", nil, []backends.Tensor{integers64("i", []int64{1}, 1), integers64("d", nil, 1<<50), floats("v", []int64{2}, 0, 1)}, "larger than"},
		{"more than all elements", "TopK", nil, []backends.Tensor{table, integers64("k", []int64{1}, 5)}, "k=[5]"},
		{"reshape to another size", "Reshape", nil, []backends.Tensor{table, integers64("s", []int64{2}, 7, -1)}, "40 elements"},
		{"reshape to two open sizes", "Reshape", nil, []backends.Tensor{table, integers64("s", []int64{2}, -1, -1)}, "negative"},
		{"reshape that overflows", "Reshape", nil, []backends.Tensor{table, integers64("s", []int64{2}, 1<<62, 1<<62)}, "40 elements"},
		{"slice by nothing", "Slice", nil, []backends.Tensor{table, integers64("a", []int64{1}, 0), integers64("b", []int64{1}, 9), integers64("x", []int64{1}, 0), integers64("s", []int64{1}, 0)}, "step of 0"},
		{"matrices that do not fit", "MatMul", nil, []backends.Tensor{table, wave("b", 1, 5, 2)}, "4 columns meet 5 rows"},
		{"shapes that do not broadcast", "Add", nil, []backends.Tensor{table, wave("b", 1, 3)}, "do not broadcast"},
		{"division by zero", "Div", nil, []backends.Tensor{integers64("a", nil, 1), integers64("b", nil, 0)}, "zero"},
		{"remainder of zero", "Mod", nil, []backends.Tensor{integers64("a", nil, 1), integers64("b", nil, 0)}, "zero"},
		{"planes smaller than the kernel", "MaxPool", onnx.Attrs{"kernel_shape": []int64{3, 3}}, []backends.Tensor{wave("x", 1, 1, 1, 2, 2)}, "larger than the padded planes"},
		{"parts that do not add up", "Split", nil, []backends.Tensor{table, integers64("p", []int64{1}, 9)}, "parts"},
		{"axes twice", "Squeeze", nil, []backends.Tensor{wave("x", 1, 1, 1), integers64("a", []int64{2}, 0, 0)}, "twice"},
		{"axis beyond the rank", "CumSum", nil, []backends.Tensor{table, integers64("a", nil, 2)}, "axis 2"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var s sketch
			var in []*onnx.Value
			for _, b := range test.in {
				in = append(in, s.input(b.Name, b.Datatype, b.Shape...))
			}
			y := s.node(test.op, test.at, in...)
			s.output(y)
			p, r := planOf(t, &s)
			_, err := p.execute(t.Context(), r, test.in, p.outputs)
			if !errors.Is(err, backends.ErrInvalid) || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), y.Name) {
				t.Errorf("execute = %v, want ErrInvalid that names node %q and says %q", err, y.Name, test.want)
			}
		})
	}
}

func TestPanicInABuilderRefusesTheNode(t *testing.T) {
	o := operator{build: func(*node) (kernel, error) { panic("broken") }}
	if _, err := o.kernel(&node{Node: &onnx.Node{}}); !errors.Is(err, backends.ErrInvalid) || !strings.Contains(err.Error(), "broken") {
		t.Errorf("kernel = %v, want ErrInvalid that says broken", err)
	}
}

func TestUnknownOperatorsAreRefusedByName(t *testing.T) {
	tests := []struct {
		name string
		node onnx.Node
		want []string
	}{
		{"operator", onnx.Node{Op: "ImageDecoder", Name: "photo", Opset: 20}, []string{"ImageDecoder", "photo", "20"}},
		{"domain", onnx.Node{Op: "Add", Domain: "com.example", Name: "sum", Opset: 1}, []string{"Add", "com.example", "sum"}},
		{"opset", onnx.Node{Op: "Add", Name: "sum", Opset: 6}, []string{"Add", "sum", "6", "7"}},
	}
	for _, test := range tests {
		_, err := build(&test.node, testEngine(t))
		if !errors.Is(err, backends.ErrUnsupported) {
			t.Errorf("%s: build = %v, want ErrUnsupported", test.name, err)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: build = %v, want it to name %q", test.name, err, want)
			}
		}
	}
}

// FuzzModel loads damaged models and runs those that load.
func FuzzModel(f *testing.F) {
	for i, c := range readCases(f, filepath.Join("testdata", "cases.jsonl.gz")) {
		if i%20 == 0 {
			f.Add(c.Model)
		}
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "model.onnx"), file, 0o600); err != nil {
			t.Fatal(err)
		}
		g, err := onnx.Load(dir, "model.onnx")
		if err != nil {
			return
		}
		e := testEngine(t)
		e.limit = 1 << 20
		e.precision.asked = kernels.Precision(len(file) % 3)
		m, err := e.prepare(t.Context(), g, nil)
		if err != nil {
			return
		}
		_, err = m.Predict(t.Context(), backendtest.Example(m.Signature(), 1))
		if err != nil && !errors.Is(err, backends.ErrInvalid) {
			t.Logf("a run failed: %v", err)
		}
	})
}
