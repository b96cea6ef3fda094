package null_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/backendtest"
	"github.com/thrumserve/thrum/backends/null"
)

func TestConformance(t *testing.T) {
	for name, options := range map[string]map[string]string{
		"default":             nil,
		"as wide as its rows": {"inputs": "5", "outputs": "5"},
		"wider":               {"inputs": "2", "outputs": "3"},
		"takes its time":      {"takes": "1ms"},
	} {
		t.Run(name, func(t *testing.T) {
			backendtest.Run(t, func(*testing.T) backends.Backend { return null.New() },
				backendtest.Fixture{Spec: backends.Spec{Model: "null", Version: "1", Options: options}})
		})
	}
}

func TestRowsAreCopied(t *testing.T) {
	for name, test := range map[string]struct {
		inputs, outputs string
		x, y            []byte
		shape           []int64
	}{
		"narrower": {"2", "1", []byte{1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 14, 15, 16, 17, 18}, []byte{1, 2, 3, 4, 11, 12, 13, 14}, []int64{2, 2}},
		"wider":    {"1", "2", []byte{1, 2, 3, 4, 5, 6, 7, 8}, []byte{1, 2, 3, 4, 0, 0, 0, 0, 5, 6, 7, 8, 0, 0, 0, 0}, []int64{2, 1}},
	} {
		m, err := null.New().Load(t.Context(), backends.Spec{Options: map[string]string{"inputs": test.inputs, "outputs": test.outputs}})
		if err != nil {
			t.Fatal(err)
		}
		out, err := m.Predict(t.Context(), backends.Batch{Tensors: []backends.Tensor{{Name: "x", Datatype: backends.FP32, Shape: test.shape, Data: test.x}}})
		if err != nil || !slices.Equal(out.Tensors[0].Data, test.y) {
			t.Errorf("%s: Predict(%v) = %+v, %v, want %v", name, test.x, out.Tensors, err, test.y)
		}
	}
}

func TestWidthsAreBounded(t *testing.T) {
	for _, width := range []string{"", "0", "-1", "1048577", "ten", "1e3"} {
		for _, key := range []string{"inputs", "outputs"} {
			if _, err := null.New().Load(t.Context(), backends.Spec{Options: map[string]string{key: width}}); !errors.Is(err, backends.ErrInvalid) {
				t.Errorf("Load with %s %q = %v, want ErrInvalid", key, width, err)
			}
		}
	}
	if _, err := null.New().Load(t.Context(), backends.Spec{Options: map[string]string{"inputs": "1048576"}}); err != nil {
		t.Errorf("Load with the largest width = %v", err)
	}
}

func TestABatchTakesAsLongAsItIsTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := null.New().Load(t.Context(), backends.Spec{Options: map[string]string{"inputs": "1", "outputs": "1", "takes": "40ms"}})
		if err != nil {
			t.Fatal(err)
		}
		in := backends.Batch{Tensors: []backends.Tensor{{Name: "x", Datatype: backends.FP32, Shape: []int64{1, 1}, Data: make([]byte, 4)}}}
		begin := time.Now()
		if _, err := m.Predict(t.Context(), in); err != nil || time.Since(begin) != 40*time.Millisecond {
			t.Errorf("Predict = %v after %v, want 40ms", err, time.Since(begin))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		begin = time.Now()
		if _, err := m.Predict(ctx, in); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 10*time.Millisecond {
			t.Errorf("Predict = %v after %v, want its deadline after 10ms", err, time.Since(begin))
		}
	})
	for _, takes := range []string{"", "4", "-1ms", "61s", "long"} {
		if _, err := null.New().Load(t.Context(), backends.Spec{Options: map[string]string{"takes": takes}}); !errors.Is(err, backends.ErrInvalid) {
			t.Errorf("Load with takes %q = %v, want ErrInvalid", takes, err)
		}
	}
}
