//go:build cuda

package main

import (
	"unsafe"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cuda/bench/forms"
)

// names are what models are called.
type names struct{ encoder, network, recommender string }

// sizes are what is measured.
type sizes struct {
	names       names
	encoding    forms.Encoder
	encoded     []int // rows of a batch
	residual    forms.Network
	images      []int
	recommends  forms.Recommender
	recommended int
	side        int // of the product that is the device's best
	served      int // rows of a batch through the server
	clients     int // connections to the server
	copied      int // side of the matrices that are copied in, of which a batch has eight: so much that what a host does is no share of it
	deepest     int // layers of what computes while they are
	chains      []forms.Chain
}

var usual = sizes{
	names:    names{"BERT-base", "ResNet-50", "recommendation"},
	encoding: forms.Base, encoded: []int{1, 8, 32, 128}, residual: forms.ResNet50, images: []int{1, 8, 64}, recommends: forms.Criteo, recommended: 2048,
	side: 8192, served: 32, clients: 256, copied: 2048, deepest: 64,
	chains: []forms.Chain{
		forms.Products(backends.BF16, 128, 768, 768, 32), forms.Products(backends.BF16, 128, 768, 3072, 32), forms.Products(backends.BF16, 1024, 768, 2304, 32),
		forms.Products(backends.BF16, 4096, 768, 768, 16), forms.Products(backends.BF16, 4096, 768, 3072, 16),
		forms.Products(backends.BF16, 16384, 768, 768, 16), forms.Products(backends.BF16, 16384, 768, 2304, 8), forms.Products(backends.BF16, 16384, 768, 3072, 8),
		forms.Products(backends.FP16, 4096, 4096, 4096, 4), forms.Products(backends.BF16, 8192, 8192, 8192, 2),
		forms.Attentions(backends.BF16, 1, 12, 128, 64, 32), forms.Attentions(backends.BF16, 32, 12, 128, 64, 16), forms.Attentions(backends.BF16, 128, 12, 128, 64, 16),
		forms.Attentions(backends.BF16, 8, 12, 2048, 64, 4),
		forms.Norms(backends.BF16, 128, 768, 32), forms.Norms(backends.BF16, 16384, 768, 16), forms.Norms(backends.BF16, 16384, 4096, 8),
		forms.Convolutions(backends.FP16, 64, 56, 64, 3, 8), forms.Convolutions(backends.FP16, 64, 28, 128, 3, 8), forms.Convolutions(backends.FP16, 64, 14, 256, 3, 8),
		forms.Convolutions(backends.FP16, 64, 7, 512, 3, 8), forms.Convolutions(backends.FP16, 1, 14, 256, 3, 32), forms.Convolutions(backends.FP16, 64, 56, 256, 1, 8),
		forms.Additions(backends.FP16, 128<<20),
	},
}

var small = sizes{
	names:    names{"a small encoder", "a small network", "a small recommendation"},
	encoding: forms.Encoder{Layers: 2, Width: 64, Heads: 2, Inner: 128, Words: 100, Sequence: 16}, encoded: []int{1, 4},
	residual: forms.Network{Size: 16, Width: 8, Classes: 10, Stages: []int{1, 1}}, images: []int{2},
	recommends:  forms.Recommender{Dense: 13, Tables: []int{100, 3, 50, 7}, Width: 16, Below: []int{32}, Above: []int{32}},
	recommended: 16, side: 64, served: 4, clients: 8, copied: 16, deepest: 2,
	chains: []forms.Chain{
		forms.Products(backends.BF16, 16, 64, 32, 2), forms.Attentions(backends.FP16, 1, 2, 16, 32, 2), forms.Norms(backends.BF16, 8, 64, 2),
		forms.Convolutions(backends.FP16, 1, 6, 8, 3, 2), forms.Additions(backends.FP16, 1024),
	},
}

func addressOf(mem []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(mem))) }
