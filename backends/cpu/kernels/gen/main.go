// Command gen writes the assembly of package kernels: run `go generate ./backends/cpu/kernels`.
//
// A kernel is described once and written for AVX2 and for AVX-512. All functions are NOSPLIT,
// without a frame, take pointers that their callers have checked, and end with VZEROUPPER.
package main

import (
	"flag"
	"fmt"
	"go/format"
	"os"
	"path/filepath"
)

func main() {
	out := flag.String("out", "..", "folder of package kernels")
	flag.Parse()
	if err := write(*out); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// subject is a generated pair of files.
type subject struct {
	path     string // without _asm_amd64
	describe func(f *file)
}

var subjects = []subject{
	{"tile", tiles("")},
	{"tile_bf16", tiles("BF16")},
	{"tile_int8", tiles("Int8")},
	{"elementwise", elementwise},
	{"row", rowKernels},
	{"beside", besides},
	{"winograd", winograds},
	{"depth", depths},
	{"sweep", sweeps},
	{"pack", packs},
	{"bf16", conversions},
	{"int8", byteKernels},
	{"amx", tileProducts},
	{"tree", trees},
	{"embedding", embeddings},
	{"peak/peak", peaks},
}

func write(folder string) error {
	for _, s := range subjects {
		f := newFile(s.path)
		s.describe(f)
		f.writeConstants()
		code, err := format.Source(f.stubs.Bytes())
		if err != nil {
			return fmt.Errorf("%s: %w", s.path, err)
		}
		path := filepath.Join(folder, s.path+"_asm_amd64")
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path+".s", f.asm.Bytes(), 0o644); err != nil {
			return err
		}
		if err := os.WriteFile(path+".go", code, 0o644); err != nil {
			return err
		}
	}
	return nil
}
