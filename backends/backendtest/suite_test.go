package backendtest_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/backendtest"
)

func run(t *testing.T, b func() backends.Backend) {
	dir := t.TempDir()
	if err := backendtest.WriteFake(dir, 5, 2, 1); err != nil {
		t.Fatal(err)
	}
	open := func(*testing.T) backends.Backend { return b() }
	backendtest.Run(t, open, backendtest.Fixture{Spec: backends.Spec{Model: "affine", Version: "1", Dir: dir}})
}

func TestFakePasses(t *testing.T) {
	run(t, func() backends.Backend { return &backendtest.Fake{} })
}

// liars break one promise each; the value names the test of the suite that notices.
var liars = map[string]struct {
	backend func() backends.Backend
	caught  string
}{
	"mixes rows": {answering(func(in, out backends.Batch) backends.Batch {
		y := out.Tensors[0]
		if n := len(y.Data) / in.Rows(); in.Rows() > 1 {
			y.Data = append(slices.Clone(y.Data[n:]), y.Data[:n]...)
		}
		out.Tensors[0] = y
		return out
	}), "row_i_answers_row_i"},
	"forgets a row": {answering(func(in, out backends.Batch) backends.Batch {
		y := out.Tensors[0]
		n := len(y.Data) / in.Rows()
		y.Shape = append([]int64{y.Shape[0] - 1}, y.Shape[1:]...)
		y.Data = y.Data[n:]
		out.Tensors[0] = y
		return out
	}), "answers_have_the_promised_shapes"},
	"gives all outputs": {answering(func(in, out backends.Batch) backends.Batch {
		return backends.Batch{Tensors: append(out.Tensors, out.Tensors[0])[:2]}
	}), "outputs_are_those_asked_for"},
	"writes to its input": {answering(func(in, out backends.Batch) backends.Batch {
		in.Tensors[0].Data[0]++
		return out
	}), "the_input_is_left_alone"},
	"answers in the same place": {func() backends.Backend {
		y := make([]byte, 64)
		return &backendtest.Fake{OnAnswer: func(in, out backends.Batch) backends.Batch {
			t := &out.Tensors[0]
			if t.Name != "y" || in.Rows() > 1 {
				return out
			}
			t.Data = y[:copy(y, t.Data)]
			return out
		}}
	}, "an_answer_stays_until_it_is_released"},
	"joins parts backwards": {func() backends.Backend { return backwards{&backendtest.Fake{}} }, "joined_parts_are_a_batch"},
	"has no name for errors": {func() backends.Backend {
		return &backendtest.Fake{OnLoad: func(_ context.Context, s backends.Spec) error {
			if _, err := os.Stat(s.Dir); err != nil {
				return errors.New("no such folder")
			}
			return nil
		}}
	}, "a_missing_folder_is_refused"},
	"cannot be closed twice": {func() backends.Backend {
		closed := false
		return &backendtest.Fake{OnClose: func() error {
			if closed {
				return errors.New("closed already")
			}
			closed = true
			return nil
		}}
	}, "info_names_the_backend"},
	"fails beyond 4 MiB": {func() backends.Backend {
		return &backendtest.Fake{OnPredict: func(_ context.Context, in backends.Batch) error {
			if len(in.Tensors[0].Data) > 4<<20 {
				return backends.Errorf(backends.ErrTooLarge, "message too large")
			}
			return nil
		}}
	}, "a_large_batch_is_answered"},
}

// backwards joins parts in the wrong order.
type backwards struct{ backends.Backend }

func (b backwards) Load(ctx context.Context, spec backends.Spec) (backends.Model, error) {
	m, err := b.Backend.Load(ctx, spec)
	return joiner{m}, err
}

type joiner struct{ backends.Model }

func (j joiner) PredictJoined(ctx context.Context, parts []backends.Batch) (backends.Batch, error) {
	x := parts[0]
	x.Tensors = slices.Clone(x.Tensors)
	x.Tensors[0].Shape = []int64{int64(len(parts)), x.Tensors[0].Shape[1]}
	x.Tensors[0].Data = nil
	for _, part := range slices.Backward(parts) {
		x.Tensors[0].Data = append(x.Tensors[0].Data, part.Tensors[0].Data...)
	}
	return j.Predict(ctx, x)
}

func answering(lie func(in, out backends.Batch) backends.Batch) func() backends.Backend {
	return func() backends.Backend {
		return &backendtest.Fake{OnAnswer: func(in, out backends.Batch) backends.Batch {
			if in.Rows() == 0 {
				return out
			}
			return lie(in, out)
		}}
	}
}

const liarKey = "THRUM_TEST_LIAR"

// TestLiar is run by TestLiarsAreCaught in a process of its own, where it may fail.
func TestLiar(t *testing.T) {
	liar, ok := liars[os.Getenv(liarKey)]
	if !ok {
		t.Skip("runs only as a process that TestLiarsAreCaught starts")
	}
	run(t, liar.backend)
}

func TestLiarsAreCaught(t *testing.T) {
	for name, liar := range liars {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLiar$")
			cmd.Env = append(os.Environ(), liarKey+"="+name)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "--- FAIL: TestLiar/"+liar.caught) {
				t.Errorf("the suite did not fail in %q: %v\n%s", liar.caught, err, out)
			}
		})
	}
}
