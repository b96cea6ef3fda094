package onnx

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/thrumserve/thrum/backends"
)

// outside is a tensor whose 48 bytes lie in another file.
func outside(entries ...string) msg {
	m := msg{}.num(1, 4).num(1, 3).num(2, float32Kind).text(8, "w").num(14, 1)
	for i := 0; i < len(entries); i += 2 {
		m = m.bytes(13, msg{}.text(1, entries[i]).text(2, entries[i+1]))
	}
	return m
}

// externalDir has a folder with weights and, beside it, a secret.
func externalDir(t *testing.T, inits ...msg) string {
	t.Helper()
	top := t.TempDir()
	dir := filepath.Join(top, "1")
	g := perceptron()
	g.inits = append(inits, g.inits[1])
	for path, data := range map[string][]byte{
		"1/model.onnx":   model(17, g),
		"1/weights.bin":  bytes.Repeat([]byte{1, 2, 3, 4}, 16),
		"1/sub/more.bin": make([]byte, 48),
		"secret.bin":     make([]byte, 48),
	} {
		path = filepath.Join(top, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{"inside": "weights.bin", "out": "../secret.bin", "absolute": filepath.Join(top, "secret.bin"), "dirout": ".."} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestExternalDataIsRead(t *testing.T) {
	tests := []struct {
		name    string
		entries []string
		first   byte
	}{
		{"whole file", []string{"location", "sub/more.bin"}, 0},
		{"part of a file", []string{"location", "weights.bin", "offset", "4", "length", "48", "checksum", "abc"}, 1},
		{"a link that stays inside", []string{"location", "inside", "length", "48"}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g, err := Load(externalDir(t, outside(tt.entries...)), "model.onnx")
			if err != nil {
				t.Fatal(err)
			}
			if w := g.Nodes[0].Inputs[1].Const; len(w.Data) != 48 || w.Data[0] != tt.first {
				t.Errorf("weights = %v", w.Data)
			}
		})
	}
}

func TestTensorsShareTheSameExternalBytes(t *testing.T) {
	same := outside("location", "weights.bin", "offset", "0", "length", "48")
	g := perceptron()
	g.inits = []msg{same, append(bytes.Clone(same), msg{}.text(8, "w2")...), g.inits[1]}
	g.nodes = append(g.nodes, node("Gemm", "again", names("x", "w2", "b"), names("z")))
	g.outputs = append(g.outputs, value("z", float32Kind, "N", 3))
	dir := externalDir(t)
	if err := os.WriteFile(filepath.Join(dir, "model.onnx"), model(17, g), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := Load(dir, "model.onnx")
	if err != nil {
		t.Fatal(err)
	}
	first, second := got.Nodes[0].Inputs[1].Const, got.Nodes[2].Inputs[1].Const
	if &first.Data[0] != &second.Data[0] {
		t.Error("two tensors of the same bytes are two copies")
	}
}

func TestExternalDataThatIsRefused(t *testing.T) {
	tests := []struct {
		name    string
		entries []string
		text    string
	}{
		{"parent folder", []string{"location", "../secret.bin"}, "escapes"},
		{"parent folder, hidden", []string{"location", "sub/../../secret.bin"}, "escapes"},
		{"absolute path", []string{"location", "/etc/passwd"}, "escapes"},
		{"link out", []string{"location", "out"}, "escapes"},
		{"absolute link out", []string{"location", "absolute"}, "escapes"},
		{"folder link out", []string{"location", "dirout/secret.bin"}, "escapes"},
		{"folder", []string{"location", "sub"}, "not a regular file"},
		{"pipe", []string{"location", "pipe"}, "not a regular file"},
		{"no such file", []string{"location", "absent"}, "no such file"},
		{"no location", []string{"offset", "0"}, "has no location"},
		{"offset beyond the file", []string{"location", "weights.bin", "offset", "17"}, "48 bytes at offset 17 of a file of 64 bytes"},
		{"offset at the end of all numbers", []string{"location", "weights.bin", "offset", "9223372036854775807"}, "of a file of 64 bytes"},
		{"negative offset", []string{"location", "weights.bin", "offset", "-1"}, `offset "-1" cannot be used`},
		{"offset that is no number", []string{"location", "weights.bin", "offset", "x"}, `offset "x" cannot be used`},
		{"length that contradicts the shape", []string{"location", "weights.bin", "length", "64"}, "external data of 64 bytes, the shape needs 48"},
		{"negative length", []string{"location", "weights.bin", "length", "-48"}, "cannot be used"},
		{"unknown key", []string{"location", "weights.bin", "url", "http://x"}, `url "http://x" cannot be used`},
		{"NUL in the name", []string{"location", "weights\x00.bin"}, "invalid"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Load(externalDir(t, outside(tt.entries...)), "model.onnx")
			if !errors.Is(err, backends.ErrInvalid) || !strings.Contains(err.Error(), tt.text) || !strings.Contains(err.Error(), `tensor "w"`) {
				t.Errorf("Load = %v, want %q", err, tt.text)
			}
		})
	}
}

func TestExternalTensorsMustNotOverlap(t *testing.T) {
	first := outside("location", "weights.bin", "length", "48")
	second := append(outside("location", "weights.bin", "offset", "4"), msg{}.text(8, "w2")...)
	_, err := Load(externalDir(t, first, second), "model.onnx")
	if err == nil || !strings.Contains(err.Error(), "tensors overlap") {
		t.Errorf("Load = %v", err)
	}
}

func TestExternalBounds(t *testing.T) {
	root, err := os.OpenRoot(externalDir(t))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	e := newExternalFiles(root)
	defer e.close()
	e.left = 40
	if _, err := e.read([]entryProto{{"location", "weights.bin"}}, 48); err == nil || !strings.Contains(err.Error(), "of all tensors is more than") {
		t.Errorf("read beyond the total = %v", err)
	}
	for i := range maxExternalFiles {
		e.open[formatInt(int64(i))] = e.open["weights.bin"]
	}
	if _, err := e.read([]entryProto{{"location", "inside"}}, 8); err == nil || !strings.Contains(err.Error(), "more than 4096 files") {
		t.Errorf("read of one file more = %v", err)
	}
	clear(e.open)
}

func TestModelFileThatIsALinkOut(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(externalDir(t), "model.onnx"), filepath.Join(dir, "model.onnx")); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir, "model.onnx"); !errors.Is(err, backends.ErrInvalid) || !strings.Contains(err.Error(), "escapes") {
		t.Errorf("Load = %v", err)
	}
}
