package lower

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu"
	"github.com/thrumserve/thrum/backends/onnx"
	"github.com/thrumserve/thrum/backends/onnx/rewrite"
)

// conformanceCase is a line of the cpu backend's cases.
type conformanceCase struct {
	Name            string
	Model           []byte
	Inputs, Outputs []conformanceTensor
}

type conformanceTensor struct {
	Name, Datatype string
	Shape          []int64
	Data           []byte
}

// prepare loads a model as the backend does, and lowers it for inputs of those shapes.
func prepare(dir string, float backends.Datatype, shapes ...[]int64) (*Program, *onnx.Graph, error) {
	return prepareWith(dir, float, false, shapes...)
}

func prepareWith(dir string, float backends.Datatype, integers bool, shapes ...[]int64) (*Program, *onnx.Graph, error) {
	g, err := onnx.Load(dir, "model.onnx")
	if err != nil {
		return nil, nil, err
	}
	keep := func(n *onnx.Node) bool { return integers && n.Op == "DequantizeLinear" }
	if err := cpu.Fold(g, keep); err != nil {
		return nil, nil, err
	}
	rewrite.Apply(g, rewrite.Standard)
	s, err := g.Specialise(shapes)
	if err != nil {
		return nil, nil, err
	}
	if err := cpu.Fold(s, keep); err != nil {
		return nil, nil, err
	}
	p, err := Lower(s, float, integers)
	return p, s, err
}

// differs compares element by element.
func differs(got, want backends.Tensor, tolerance float64) error {
	if got.Datatype != want.Datatype || fmt.Sprint(got.Shape) != fmt.Sprint(want.Shape) {
		return fmt.Errorf("%v %v, want %v %v", got.Datatype, got.Shape, want.Datatype, want.Shape)
	}
	if got.Datatype == backends.Bytes {
		if !bytes.Equal(got.Data, want.Data) {
			return fmt.Errorf("it is %q, want %q", got.Data, want.Data)
		}
		return nil
	}
	a, b := decode(got.Data, got.Datatype), decode(want.Data, want.Datatype)
	for i := range b {
		if a[i] != b[i] && (a[i] == a[i] || b[i] == b[i]) && !(math.Abs(a[i]-b[i]) <= tolerance*(1+math.Abs(b[i]))) {
			return fmt.Errorf("element %d is %v, want %v", i, a[i], b[i])
		}
	}
	return nil
}

// TestConformance holds what is lowered against the expectations of the ONNX project. What is not
// lowered must be refused by name.
func TestConformance(t *testing.T) {
	f, err := os.Open(filepath.Join("..", "..", "cpu", "testdata", "cases.jsonl.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		t.Fatal(err)
	}
	passed, refused := 0, map[string]int{}
	for d := json.NewDecoder(z); d.More(); {
		var c conformanceCase
		if err := d.Decode(&c); err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "model.onnx"), c.Model, 0o600); err != nil {
			t.Fatal(err)
		}
		var inputs []backends.Tensor
		var shapes [][]int64
		for _, in := range c.Inputs {
			dt, err := backends.ParseDatatype(in.Datatype)
			if err != nil {
				t.Fatal(err)
			}
			inputs = append(inputs, backends.Tensor{Datatype: dt, Shape: in.Shape, Data: in.Data})
			shapes = append(shapes, in.Shape)
		}
		p, _, err := prepare(dir, backends.FP32, shapes...)
		if errors.Is(err, backends.ErrUnsupported) {
			if !strings.Contains(err.Error(), "operator ") && !strings.Contains(err.Error(), "input ") {
				t.Errorf("%s: the refusal names no operator: %v", c.Name, err)
			}
			refused[strings.SplitN(err.Error()+"  ", " ", 3)[1]]++
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		if err := try(p, inputs, c); err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		passed++
	}
	t.Logf("%d pass; refused: %v", passed, refused)
	if passed < 280 {
		t.Errorf("%d cases pass, want 280", passed)
	}
}

func try(p *Program, inputs []backends.Tensor, c conformanceCase) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	var all bytes.Buffer
	got := interpret(p, inputs)
	for i, want := range c.Outputs {
		dt, _ := backends.ParseDatatype(want.Datatype)
		if err := differs(got[i], backends.Tensor{Datatype: dt, Shape: want.Shape, Data: want.Data}, 2e-4); err != nil {
			fmt.Fprintf(&all, "output %d: %v; ", i, err)
		}
	}
	if all.Len() > 0 {
		return errors.New(all.String())
	}
	return nil
}
