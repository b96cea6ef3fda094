// Command gen writes the assembly of package oip: run `go generate ./server/oip`.
//
// All functions are for AVX2, NOSPLIT, without a frame, take pointers that their callers have checked,
// and end with VZEROUPPER.
package main

import (
	"flag"
	"fmt"
	"go/format"
	"os"
	"path/filepath"
)

func main() {
	out := flag.String("out", "..", "folder of package oip")
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
	{"float", decimals},
	{"fp32", plainRun},
}

func write(folder string) error {
	for _, s := range subjects {
		f := newFile(s.path)
		s.describe(f)
		f.writeTable()
		code, err := format.Source(f.stubs.Bytes())
		if err != nil {
			return fmt.Errorf("%s: %w", s.path, err)
		}
		path := filepath.Join(folder, s.path+"_asm_amd64")
		if err := os.WriteFile(path+".s", f.asm.Bytes(), 0o644); err != nil {
			return err
		}
		if err := os.WriteFile(path+".go", code, 0o644); err != nil {
			return err
		}
	}
	return nil
}
