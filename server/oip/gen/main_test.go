package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// The files in the tree are what the generator writes.
func TestTheTreeIsUpToDate(t *testing.T) {
	folder := t.TempDir()
	if err := write(folder); err != nil {
		t.Fatal(err)
	}
	for _, s := range subjects {
		for _, ending := range []string{".s", ".go"} {
			name := s.path + "_asm_amd64" + ending
			want, err := os.ReadFile(filepath.Join(folder, name))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(filepath.Join("..", name)); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s differs from what gen writes (%v): run go generate ./server/oip", name, err)
			}
		}
	}
}
