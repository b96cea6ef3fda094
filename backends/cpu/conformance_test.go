package cpu

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/onnx"
)

// casesFile is another set of cases than the one in the repository, such as all of them:
//
//	go test ./backends/cpu -run Conformance -cases FILE -table TABLE
//
// bench/conformance/cases.py makes such files. In those, cases may be refused; in the
// repository's own none is.
var (
	casesFile = flag.String("cases", "", "file of conformance cases, made by bench/conformance/cases.py")
	tableFile = flag.String("table", "", "file to write the table of results to")
)

// conformanceCase is a line of a cases file.
type conformanceCase struct {
	Name            string
	Group           string
	Counts          bool // towards the target
	Model           []byte
	Inputs, Outputs []conformanceTensor
}

type conformanceTensor struct {
	Name, Datatype string
	Shape          []int64
	Data           []byte
}

func (c conformanceTensor) tensor(t testing.TB) backends.Tensor {
	d, err := backends.ParseDatatype(c.Datatype)
	if err != nil {
		t.Fatal(err)
	}
	return backends.Tensor{Name: c.Name, Datatype: d, Shape: c.Shape, Data: c.Data}
}

// TestConformance compares every operator with the expectations of the ONNX project.
func TestConformance(t *testing.T) {
	if *casesFile == "" {
		for _, c := range readCases(t, filepath.Join("testdata", "cases.jsonl.gz")) {
			t.Run(c.Name, func(t *testing.T) {
				if err := runCase(t, c); err != nil {
					t.Error(err)
				}
			})
		}
		return
	}
	table := conformanceTable{}
	for _, c := range readCases(t, *casesFile) {
		var err error
		t.Run(c.Name, func(t *testing.T) {
			err = runInTime(t, c)
			switch resultOf(err) {
			case refused:
				t.Skip(err)
			case wrong, crashed:
				t.Error(err)
			}
		})
		table.add(c, resultOf(err))
	}
	if share := table.share(); share < conformanceTarget {
		t.Errorf("%.1f %% of the cases that count pass, the target is %v %%", share, conformanceTarget)
	}
	if *tableFile != "" {
		if err := os.WriteFile(*tableFile, []byte(table.String()), 0o600); err != nil {
			t.Error(err)
		}
	}
}

// runInTime is runCase that gives up on a case that hangs.
func runInTime(t *testing.T, c conformanceCase) error {
	done := make(chan error, 1)
	go func() { done <- runCase(t, c) }()
	select {
	case err := <-done:
		return err
	case <-time.After(time.Minute):
		return errHang
	}
}

var errHang = errors.New("it has not ended after a minute")

func readCases(t testing.TB, name string) []conformanceCase {
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		t.Fatal(err)
	}
	var all []conformanceCase
	for d := json.NewDecoder(z); d.More(); {
		var c conformanceCase
		if err := d.Decode(&c); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

// runCase loads and runs a case and compares the outputs. Then it does so with all inputs but
// the first made constants, as weights are.
func runCase(t *testing.T, c conformanceCase) error {
	for _, frozen := range []bool{false, true} {
		g, given, err := c.load(t)
		if err != nil {
			return err
		}
		if c.Inputs == nil && c.Outputs == nil {
			return fmt.Errorf("a model of values that the protocol lacks was loaded")
		}
		if frozen {
			freeze(g, given[min(1, len(given)):])
		}
		if err := runGraph(t, g, given, c.Outputs); err != nil {
			return fmt.Errorf("constants %v: %w", frozen, err)
		}
	}
	return nil
}

// load returns the case's graph and inputs.
func (c conformanceCase) load(t testing.TB) (*onnx.Graph, []backends.Tensor, error) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "model.onnx"), c.Model, 0o600); err != nil {
		t.Fatal(err)
	}
	g, err := onnx.Load(dir, "model.onnx")
	var given []backends.Tensor
	for _, i := range c.Inputs {
		given = append(given, i.tensor(t))
	}
	return g, given, err
}

// graph is load of a case that must load.
func (c conformanceCase) graph(t testing.TB) (*onnx.Graph, []backends.Tensor) {
	g, given, err := c.load(t)
	if err != nil {
		t.Fatalf("%s: %v", c.Name, err)
	}
	return g, given
}

// freeze makes constants of the inputs that are among values.
func freeze(g *onnx.Graph, values []backends.Tensor) {
	g.Inputs = slices.DeleteFunc(g.Inputs, func(v *onnx.Value) bool {
		i := slices.IndexFunc(values, func(t backends.Tensor) bool { return t.Name == v.Name })
		if i >= 0 {
			v.Const = &values[i]
		}
		return i >= 0
	})
}

func runGraph(t *testing.T, g *onnx.Graph, given []backends.Tensor, wanted []conformanceTensor) error {
	m, err := prepare(t.Context(), g, Options{Threads: 2}, nil)
	if err != nil {
		return err
	}
	defer m.Close()
	var in backends.Batch
	for _, i := range given {
		if _, ok := m.Signature().Input(i.Name); ok {
			in.Tensors = append(in.Tensors, i)
		}
	}
	got, err := m.Predict(t.Context(), in)
	if err != nil {
		return err
	}
	for i, want := range wanted {
		if err := compare(got.Tensors[i], want.tensor(t)); err != nil {
			return err
		}
	}
	return nil
}

// compare allows floats the tolerance of the ONNX project: a thousandth, or for half precision
// two units in the last place, where that is more.
func compare(got, want backends.Tensor) error {
	if got.Name != want.Name || got.Datatype != want.Datatype || !slices.Equal(got.Shape, want.Shape) {
		return fmt.Errorf("output %q: %v %v %v, want %v %v", want.Name, got.Name, got.Datatype, got.Shape, want.Datatype, want.Shape)
	}
	have, wanted := reals(got), reals(want)
	if have == nil {
		if !slices.Equal(got.Data, want.Data) {
			return fmt.Errorf("output %q: % x, want % x", want.Name, got.Data, want.Data)
		}
		return nil
	}
	relative := 1e-3
	switch want.Datatype {
	case backends.BF16:
		relative = 0x1p-6
	case backends.FP16:
		relative = 0x1p-9
	}
	for i, w := range wanted {
		if v := have[i]; v != w && !(v != v && w != w) && !(math.Abs(v-w) <= 1e-6+relative*math.Abs(w)) {
			return fmt.Errorf("output %q: element %d is %v, want %v", want.Name, i, v, w)
		}
	}
	return nil
}

// reals returns the elements of a tensor of floats, else nil.
func reals(t backends.Tensor) []float64 {
	all := []float64{}
	switch size := t.Datatype.Size(); t.Datatype {
	case backends.FP16, backends.BF16, backends.FP32, backends.FP64:
		for data := t.Data; len(data) > 0; data = data[size:] {
			all = append(all, realOf(t.Datatype, data))
		}
		return all
	}
	return nil
}

func realOf(d backends.Datatype, data []byte) float64 {
	switch d {
	case backends.FP16:
		return float64(halfToFloat(binary.LittleEndian.Uint16(data)))
	case backends.BF16:
		return float64(bfloatToFloat(binary.LittleEndian.Uint16(data)))
	case backends.FP32:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(data)))
	}
	return math.Float64frombits(binary.LittleEndian.Uint64(data))
}
