//go:build cuda

// Command thrum-backend-cuda is the backend for NVIDIA's devices. See docs/cuda.md.
package main

import (
	"github.com/thrumserve/thrum/backends/cuda"
	"github.com/thrumserve/thrum/backends/cuda/gpu"
	"github.com/thrumserve/thrum/backends/cuda/kernels"
	"github.com/thrumserve/thrum/plugins"
)

func main() { plugins.Serve(cuda.New(gpu.Open, kernels.Image)) }
