package cpu

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
	"github.com/thrumserve/thrum/backends/onnx"
)

// mlCase is a case of ml/testdata/reference.json, which holds what ONNX Runtime answers.
type mlCase struct {
	Op         string
	Opset      int64
	Attributes map[string]mlAttribute
	Inputs     []mlTensor
	Outputs    []mlTensor
}

type mlTensor struct {
	Datatype string
	Shape    []int64
	Data     []any
}

// mlAttribute is an attribute as onnx.Attrs holds it.
type mlAttribute struct{ value any }

func (a *mlAttribute) UnmarshalJSON(data []byte) error {
	var pair [2]json.RawMessage
	if err := json.Unmarshal(data, &pair); err != nil {
		return err
	}
	kind, value := strings.Trim(string(pair[0]), `"`), pair[1]
	switch kind {
	case "int":
		return decode[int64](value, a)
	case "string":
		return decode[string](value, a)
	case "ints":
		return decode[[]int64](value, a)
	case "strings":
		return decode[[]string](value, a)
	case "float":
		var v any
		err := json.Unmarshal(value, &v)
		a.value = float32(mlNumber(v))
		return err
	case "floats":
		var list []any
		err := json.Unmarshal(value, &list)
		floats := make([]float32, len(list))
		for i, v := range list {
			floats[i] = float32(mlNumber(v))
		}
		a.value = floats
		return err
	}
	var t mlTensor
	err := json.Unmarshal(value, &t)
	b := t.tensor("")
	a.value = &b
	return err
}

func decode[T any](data []byte, a *mlAttribute) error {
	var v T
	err := json.Unmarshal(data, &v)
	a.value = v
	return err
}

// mlNumber reads null as NaN and "inf" as infinity.
func mlNumber(v any) float64 {
	switch v := v.(type) {
	case nil:
		return math.NaN()
	case string:
		return math.Inf(map[string]int{"inf": 1, "-inf": -1}[v])
	}
	return v.(float64)
}

func (m mlTensor) tensor(name string) backends.Tensor {
	d, err := backends.ParseDatatype(m.Datatype)
	if err != nil {
		panic(err)
	}
	t := backends.Tensor{Name: name, Datatype: d, Shape: m.Shape}
	for _, v := range m.Data {
		switch d {
		case backends.Bytes:
			t.Data = backends.AppendBytesElement(t.Data, []byte(v.(string)))
		case backends.FP32:
			t.Data = binary.LittleEndian.AppendUint32(t.Data, math.Float32bits(float32(mlNumber(v))))
		case backends.FP64:
			t.Data = binary.LittleEndian.AppendUint64(t.Data, math.Float64bits(mlNumber(v)))
		default: // the low bytes of an integer
			wide := binary.LittleEndian.AppendUint64(nil, uint64(int64(mlNumber(v))))
			t.Data = append(t.Data, wide[:d.Size()]...)
		}
	}
	return t
}

func mlCases(t testing.TB) []mlCase {
	data, err := os.ReadFile("ml/testdata/reference.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Cases []mlCase }
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	return file.Cases
}

// run plans a graph of the case's node alone and runs it.
func (c mlCase) run(t *testing.T, e *engine) ([]backends.Tensor, error) {
	n := &onnx.Node{Op: c.Op, Domain: "ai.onnx.ml", Name: "n", Opset: c.Opset, Attrs: onnx.Attrs{}}
	for name, a := range c.Attributes {
		n.Attrs[name] = a.value
	}
	g := &onnx.Graph{Nodes: []*onnx.Node{n}}
	add := func(name string, d backends.Datatype) *onnx.Value {
		v := &onnx.Value{ID: len(g.Values), Name: name, Datatype: d}
		g.Values = append(g.Values, v)
		return v
	}
	var in []backends.Tensor
	for i, x := range c.Inputs {
		in = append(in, x.tensor(fmt.Sprint("x", i)))
		g.Inputs = append(g.Inputs, add(in[i].Name, in[i].Datatype))
	}
	for i, y := range c.Outputs {
		v := add(fmt.Sprint("y", i), y.tensor("").Datatype)
		v.Producer = n
		g.Outputs = append(g.Outputs, v)
	}
	n.Inputs, n.Outputs = g.Inputs, g.Outputs
	p, err := newPlan(g, e)
	if err != nil {
		return nil, err
	}
	return p.execute(t.Context(), p.newRun(e), in, p.outputs)
}

// mlEngine returns an engine of two threads, closed with the test.
func mlEngine(t *testing.T) *engine {
	e := &engine{pool: kernels.NewPool(2), limit: MaxTensorBytes}
	t.Cleanup(e.pool.Close)
	return e
}

func TestPipelineOperatorsAnswerAsTheReference(t *testing.T) {
	e := mlEngine(t)
	for i, c := range mlCases(t) {
		t.Run(fmt.Sprintf("%s %d", c.Op, i), func(t *testing.T) {
			got, err := c.run(t, e)
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range c.Outputs {
				compareML(t, c, got[i], want.tensor(got[i].Name))
			}
		})
	}
}

func compareML(t *testing.T, c mlCase, got, want backends.Tensor) {
	t.Helper()
	if got.Datatype != want.Datatype || fmt.Sprint(got.Shape) != fmt.Sprint(want.Shape) {
		t.Fatalf("%s is %v %v, want %v %v", got.Name, got.Datatype, got.Shape, want.Datatype, want.Shape)
	}
	if got.Datatype != backends.FP32 && got.Datatype != backends.FP64 {
		if string(got.Data) != string(want.Data) {
			t.Errorf("%s is %q, want %q", got.Name, got.Data, want.Data)
		}
		return
	}
	a, b := mlFloats(got), mlFloats(want)
	for i := range b {
		if !mlNear(a[i], b[i], c.tolerance()) {
			t.Errorf("%s, element %d of shape %v: %v, want %v", got.Name, i, got.Shape, a[i], b[i])
		}
	}
}

// tolerance is a few float32 steps, and more where a formula magnifies them.
func (c mlCase) tolerance() float64 {
	switch transform := c.Attributes["post_transform"].value; {
	case transform == "PROBIT", transform == int64(4), c.Op == "SVMClassifier":
		return 1e-5
	}
	return 2e-6
}

func mlNear(a, b, tolerance float64) bool {
	if a == b || a != a && b != b {
		return true
	}
	return math.Abs(a-b) <= tolerance*(1+math.Abs(b))
}

func mlFloats(t backends.Tensor) []float64 {
	var all []float64
	for data := t.Data; len(data) > 0; data = data[t.Datatype.Size():] {
		if t.Datatype == backends.FP32 {
			all = append(all, float64(math.Float32frombits(binary.LittleEndian.Uint32(data))))
		} else {
			all = append(all, math.Float64frombits(binary.LittleEndian.Uint64(data)))
		}
	}
	return all
}

// Attributes that are missing, too short or of a wrong type refuse a node, and none makes the
// engine panic.
func TestSpoiltAttributesAreRefused(t *testing.T) {
	needed := map[string]bool{ // what an operator cannot do without
		"nodes_treeids": true, "nodes_nodeids": true, "nodes_modes": true, "nodes_featureids": true, "nodes_truenodeids": true,
		"nodes_falsenodeids": true, "tree_roots": true, "nodes_splits": true, "leaf_weights": true, "leaf_targetids": true,
		"coefficients": true, "rho": true, "support_vectors": false, "scale": true, "offset": true, "inputdimensions": true,
	}
	e := mlEngine(t)
	for i, c := range mlCases(t) {
		for name, whole := range c.Attributes {
			for kind, spoilt := range map[string]any{"gone": nil, "of another type": true, "cut": shorter(whole.value)} {
				c.Attributes[name] = mlAttribute{spoilt}
				if spoilt == nil {
					delete(c.Attributes, name)
				}
				_, err := c.run(t, e)
				if err != nil && !errors.Is(err, backends.ErrInvalid) && !errors.Is(err, backends.ErrUnsupported) {
					t.Errorf("case %d, %s with %s %s: %v, want an ErrInvalid", i, c.Op, name, kind, err)
				}
				ignored := name == "multi_class" // the sums are the same either way
				if err == nil && (kind == "of another type" && !ignored || kind == "gone" && needed[name]) {
					t.Errorf("case %d, %s with %s %s runs", i, c.Op, name, kind)
				}
			}
			c.Attributes[name] = whole
		}
	}
}

// shorter returns a list without its last element, and anything else as it is.
func shorter(v any) any {
	switch v := v.(type) {
	case []int64:
		return v[:len(v)-1]
	case []float32:
		return v[:len(v)-1]
	case []string:
		return v[:len(v)-1]
	}
	return v
}
