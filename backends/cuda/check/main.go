//go:build cuda

// Command check holds models and operators on a device against the cpu backend and the expectations of
// the ONNX project, in a folder that it is built into with all it needs: `make cuda-check`. It ends with
// 0 if all agree, 1 if not, and 77 where there is no device.
//
// What it checks runs in a process of its own, and in another one from where that ends: a kernel that loses
// the device, or never ends, costs one model or operator.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu"
	"github.com/thrumserve/thrum/backends/cuda"
	"github.com/thrumserve/thrum/backends/cuda/gpu"
	"github.com/thrumserve/thrum/backends/cuda/kernels"
)

// noDevice is what the program ends with where nothing can be checked.
const noDevice = 77

// settings are the flags.
type settings struct {
	folder  string
	pretend bool
	only    string
	from    int
}

func main() {
	self, err := os.Executable()
	if err != nil {
		self = "."
	}
	var s settings
	flag.StringVar(&s.folder, "folder", filepath.Dir(self), "where models/ and cases.jsonl.gz are")
	flag.BoolVar(&s.pretend, "pretend", false, "the driver is one of the tests', which has kernels of its own")
	flag.StringVar(&s.only, "only", "", "check only what this regular expression is found in the name of: models, forms, operators")
	flag.IntVar(&s.from, "from", -1, "check what comes after so many models and operators in this process, and tell file descriptor 3, which is what the program starts itself for")
	flag.Parse()
	if s.from < 0 {
		os.Exit(watch(self))
	}
	os.Exit(s.check())
}

// check checks everything from a place on, in this process.
func (s settings) check() int {
	only, err := regexp.Compile(s.only)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	image, c := kernels.Image, checking{products: []string{"kernels"}, rows: 32, reference: cpu.New(cpu.Options{}), from: s.from, told: os.NewFile(tellFD, "told")}
	generated := usual
	if s.pretend {
		image, c.rows, generated = func(int, int) ([]byte, error) { return []byte("kernels\x00"), nil }, 4, small
	}
	c.device = cuda.New(gpu.Open, image)
	info, err := c.device.Info(context.Background())
	if err != nil {
		fmt.Println("nothing is checked:", err)
		return noDevice
	}
	if s.from == 0 {
		fmt.Println(info.Device)
	}
	if !strings.HasSuffix(info.Device, "no cuBLASLt") {
		c.products = append(c.products, "cublaslt")
	}
	for _, part := range []struct {
		name string
		run  func()
	}{
		{"models", func() { c.models(filepath.Join(s.folder, "models")) }},
		{"forms", func() { c.forms(generated) }},
		{"operators", func() { c.operators(filepath.Join(s.folder, "cases.jsonl.gz")) }},
	} {
		if only.MatchString(part.name) {
			part.run()
		}
	}
	c.tell(ended)
	return 0
}

// checking tells what it finds.
type checking struct {
	device, reference backends.Backend
	products          []string // what models' products are computed by, each by itself
	rows              int      // that models have room for at once

	begun, from int // those that are begun up to from are left out
	told        *os.File
}

// begin says whether something is to be checked.
func (c *checking) begin(what string) bool {
	c.begun++
	if c.begun <= c.from {
		return false
	}
	c.tell(begins + " " + what)
	return true
}

func (c *checking) tell(line string) { fmt.Fprintln(c.told, line) }

// found tells of one result, and prints it if it is of a whole model or no agreement.
func (c *checking) found(what string, err error, print bool) {
	switch {
	case err != nil:
		c.tell(differs)
		fmt.Printf("%-60s DIFFERS: %v\n", what, err)
	case print:
		fmt.Printf("%-60s agrees\n", what)
		fallthrough
	default:
		c.tell(agrees)
	}
}
