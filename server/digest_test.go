package server

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/thrumserve/thrum/server/config"
)

func TestDigestTellsVersionsApart(t *testing.T) {
	digest := func(content, backend string) string {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "model.onnx"), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		d, err := digestOf(t.Context(), dir, config.Model{Backend: backend})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	a := digest("a", "cpu")
	if digest("a", "cpu") != a || digest("b", "cpu") == a || digest("a", "cuda") == a {
		t.Error("equal content must give equal digests, other content or another backend other ones")
	}
}

func TestDigestReadsOnlyWhatEnds(t *testing.T) {
	for situation, put := range map[string]func(path string) error{
		"a pipe":                   func(path string) error { return syscall.Mkfifo(path, 0o644) },
		"a link out of the folder": func(path string) error { return os.Symlink("/dev/zero", path) },
	} {
		dir := t.TempDir()
		if err := put(filepath.Join(dir, "model.onnx")); err != nil {
			t.Fatal(err)
		}
		if _, err := digestOf(t.Context(), dir, config.Model{}); err == nil {
			t.Errorf("%s: digestOf = nil, want an error", situation)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "model.onnx"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := digestOf(ctx, dir, config.Model{}); !errors.Is(err, context.Canceled) {
		t.Errorf("digestOf under an ended context = %v", err)
	}
}
