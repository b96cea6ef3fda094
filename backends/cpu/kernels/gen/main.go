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

// subjects are the generated file pairs.
var subjects = map[string]func(f *file){
	"tile":        tiles,
	"elementwise": elementwise,
	"row":         rowKernels,
	"sweep":       sweeps,
	"pack":        packs,
}

func write(folder string) error {
	for name, describe := range subjects {
		f := newFile()
		describe(f)
		f.writeConstants()
		code, err := format.Source(f.stubs.Bytes())
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		path := filepath.Join(folder, name+"_asm_amd64")
		if err := os.WriteFile(path+".s", f.asm.Bytes(), 0o644); err != nil {
			return err
		}
		if err := os.WriteFile(path+".go", code, 0o644); err != nil {
			return err
		}
	}
	return nil
}
