package plugins

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/backendtest"
)

var roles = map[string]func(){
	"fake": func() { Serve(&backendtest.Fake{OnPredict: misbehave}) },
}

// misbehave does what the batch's parameter "do" says.
func misbehave(ctx context.Context, in backends.Batch) error {
	for _, p := range in.Parameters {
		switch p.Value {
		case "panic":
			panic("asked to")
		case "crash":
			os.Exit(7)
		}
	}
	return nil
}

// command runs this test binary in a role.
func command(role string, env ...string) Command {
	return Command{
		Path: os.Args[0],
		Env:  append(append(os.Environ(), roleKey+"="+role), env...),
	}
}

func start(t *testing.T, role string, o Options) *Process {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	p, err := Start(t.Context(), command(role), o)
	if err != nil {
		t.Fatalf("Start = %v", err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
	return p
}

func load(t *testing.T, b backends.Backend, width int) backends.Model {
	t.Helper()
	dir := t.TempDir()
	if err := backendtest.WriteFake(dir, width, 2, 1); err != nil {
		t.Fatal(err)
	}
	m, err := b.Load(t.Context(), backends.Spec{Model: "affine", Version: "1", Dir: dir})
	if err != nil {
		t.Fatalf("Load = %v", err)
	}
	return m
}

func TestPredictCrossesTheProcess(t *testing.T) {
	p := start(t, "fake", Options{})
	m := load(t, p, 1)
	in := backends.Batch{Tensors: []backends.Tensor{{Name: "x", Datatype: backends.FP32, Shape: []int64{1, 1}, Data: []byte{0, 0, 0x80, 0x3f}}}}
	out, err := m.Predict(t.Context(), in)
	if err != nil || len(out.Tensors) != 2 || string(out.Tensors[0].Data) != "\x00\x00\x40\x40" {
		t.Fatalf("Predict(1) = %v, %v, want y = 3", out, err)
	}
	if err := m.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	if _, err := m.Predict(t.Context(), in); !errors.Is(err, backends.ErrUnavailable) {
		t.Errorf("Predict after Close = %v, want ErrUnavailable", err)
	}
}
