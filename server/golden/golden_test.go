package golden

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/thrumserve/thrum/backends"
)

var sig = backends.Signature{
	Batched: true,
	Inputs:  []backends.TensorSpec{{Name: "x", Datatype: backends.FP32, Shape: []int64{-1, 2}}},
	Outputs: []backends.TensorSpec{
		{Name: "sum", Datatype: backends.FP32, Shape: []int64{-1}},
		{Name: "count", Datatype: backends.Int64, Shape: []int64{-1}},
	},
}

// sums answers the sum of each row, off by an error, and the number 2.
func sums(off float32, count int64) backends.PredictorFunc {
	return func(_ context.Context, in backends.Batch) (backends.Batch, error) {
		rows := int64(in.Rows())
		sum := backends.Tensor{Name: "sum", Datatype: backends.FP32, Shape: []int64{rows}}
		n := backends.Tensor{Name: "count", Datatype: backends.Int64, Shape: []int64{rows}}
		for x := in.Tensors[0].Data; len(x) > 0; x = x[8:] {
			a := math.Float32frombits(binary.LittleEndian.Uint32(x))
			b := math.Float32frombits(binary.LittleEndian.Uint32(x[4:]))
			sum.Data = binary.LittleEndian.AppendUint32(sum.Data, math.Float32bits(a+b+off))
			n.Data = binary.LittleEndian.AppendUint64(n.Data, uint64(count))
		}
		return backends.Batch{Tensors: []backends.Tensor{sum, n}}, nil
	}
}

const twoRows = `{"source": "arithmetic", "tolerance": {"abs": 1e-3, "rel": 1e-3}, "cases": [{
	"name": "two rows",
	"inputs":  [{"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4]}],
	"outputs": [{"name": "sum", "datatype": "FP32", "shape": [2], "data": [3, 7]},
	            {"name": "count", "datatype": "INT64", "shape": [2], "data": [2, 2]}]}]}`

func write(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, File), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		situation, set string
		p              backends.Predictor
		want           string // part of the error; empty for none
	}{
		{"equal", twoRows, sums(0, 2), ""},
		{"within the tolerance", twoRows, sums(3e-3, 2), ""},
		{"beyond it", twoRows, sums(5e-3, 2), `golden case "two rows": output "sum" element 0 is 3.005`},
		{"not a number", twoRows, sums(float32(math.NaN()), 2), `element 0 is NaN, the reference gave 3`},
		{"an integer off by one", twoRows, sums(0, 3), `output "count" differs`},
		{"an output that the model lacks", strings.Replace(twoRows, `"sum"`, `"total"`, 1), sums(0, 2), `"total"`},
		{"an input that the model lacks", strings.Replace(twoRows, `"x"`, `"y"`, 1), sums(0, 2), `"y"`},
		{"another shape", strings.Replace(twoRows, `[2], "data": [3, 7]`, `[1], "data": [3]`, 1), sums(0, 2), `"count" has 2 rows`},
		{"no set at all", `{}`, sums(9, 9), ""},
	} {
		set, err := Read(write(t, c.set))
		if err != nil {
			t.Fatal(err)
		}
		_, err = set.Check(t.Context(), sig, c.p, LimitsAt("fp32"))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Check = %v, want %q", c.situation, err, c.want)
		}
		if err != nil && !errors.Is(err, backends.ErrInvalid) {
			t.Errorf("%s: Check = %v, want an ErrInvalid", c.situation, err)
		}
	}
}

func TestReadWithoutAFile(t *testing.T) {
	if set, err := Read(t.TempDir()); err != nil || len(set.Cases) != 0 {
		t.Errorf("Read = %+v, %v, want an empty set", set, err)
	}
}

func TestReadRefusesWhatIsNotJSON(t *testing.T) {
	if _, err := Read(write(t, `{"cases": [`)); !errors.Is(err, backends.ErrInvalid) {
		t.Errorf("Read = %v, want an ErrInvalid", err)
	}
}

func TestReadRefusesAHugeFile(t *testing.T) {
	dir := write(t, "")
	if err := os.Truncate(filepath.Join(dir, File), maxSize+1); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(dir); !errors.Is(err, backends.ErrInvalid) {
		t.Errorf("Read = %v, want an ErrInvalid", err)
	}
}
