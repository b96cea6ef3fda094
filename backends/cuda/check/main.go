//go:build cuda

// Command check holds models and operators on a device against the cpu backend and the expectations of
// the ONNX project, in a folder that it is built into with all it needs: `make cuda-check`. It ends with
// 0 if all agree, 1 if not, and 77 where there is no device.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu"
	"github.com/thrumserve/thrum/backends/cuda"
	"github.com/thrumserve/thrum/backends/cuda/gpu"
	"github.com/thrumserve/thrum/backends/cuda/kernels"
)

// noDevice is what the program ends with where nothing can be checked.
const noDevice = 77

func main() {
	self, err := os.Executable()
	if err != nil {
		self = "."
	}
	folder := flag.String("folder", filepath.Dir(self), "where models/ and cases.jsonl.gz are")
	pretend := flag.Bool("pretend", false, "the driver is one of the tests', which has kernels of its own")
	flag.Parse()
	image, c := kernels.Image, checking{products: []string{"kernels"}, rows: 32, reference: cpu.New(cpu.Options{})}
	if *pretend {
		image, c.rows = func(int, int) ([]byte, error) { return []byte("kernels\x00"), nil }, 4
	}
	c.device = cuda.New(gpu.Open, image)
	info, err := c.device.Info(context.Background())
	if err != nil {
		fmt.Println("nothing is checked:", err)
		os.Exit(noDevice)
	}
	fmt.Println(info.Device)
	if !strings.HasSuffix(info.Device, "no cuBLASLt") {
		c.products = append(c.products, "cublaslt")
	}
	c.models(filepath.Join(*folder, "models"))
	if *pretend {
		c.forms(small)
	} else {
		c.forms(usual)
	}
	c.operators(filepath.Join(*folder, "cases.jsonl.gz"))
	fmt.Printf("%d agree, %d are refused, %d differ\n", c.agree, c.refused, c.differ)
	if c.differ > 0 || c.agree == 0 {
		os.Exit(1)
	}
}

// checking counts what it finds.
type checking struct {
	device, reference      backends.Backend
	products               []string // what models' products are computed by, each by itself
	rows                   int      // that models have room for at once
	agree, refused, differ int
}

// found counts one result, and prints it if it is of a whole model or no agreement.
func (c *checking) found(what string, err error, print bool) {
	switch {
	case err == nil:
		c.agree++
		if print {
			fmt.Printf("%-60s agrees\n", what)
		}
	default:
		c.differ++
		fmt.Printf("%-60s DIFFERS: %v\n", what, err)
	}
}
