//go:build cuda

package main

import (
	"errors"
	"os"

	"github.com/thrumserve/thrum/backends/cuda/bench/forms"
)

// usual are models of the forms that people serve, and small ones the same for a device that is pretended.
var (
	usual = []forms.Model{
		forms.Encoder{Layers: 2, Width: 768, Heads: 12, Inner: 3072, Words: 1000, Sequence: 128}, forms.ResNet50,
		forms.Recommender{Dense: 13, Width: 64, Below: []int{512, 256}, Above: []int{512, 256}, Tables: tables},
		forms.Lookup{Recommender: forms.Recommender{Width: 128, Tables: tables}, Length: 20},
	}
	small = []forms.Model{
		forms.Encoder{Layers: 1, Width: 64, Heads: 2, Inner: 96, Words: 50, Sequence: 5}, forms.Network{Size: 16, Width: 8, Classes: 10, Stages: []int{1, 1}},
		forms.Recommender{Dense: 13, Width: 8, Below: []int{16}, Above: []int{16}, Tables: []int{10, 3, 100}},
		forms.Lookup{Recommender: forms.Recommender{Width: 8, Tables: []int{10, 3, 100}}, Length: 2},
	}
	tables = []int{100_000, 36746, 17245, 7413, 20243, 3, 7114, 1441, 62, 1, 2, 345, 10, 2209, 11267, 128, 4, 974, 14, 50_000, 9, 8, 452, 12606, 104, 35}
)

// forms compares generated models in every precision.
func (c *checking) forms(all []forms.Model) {
	for _, m := range all {
		c.form(m)
	}
}

func (c *checking) form(m forms.Model) {
	dir, err := os.MkdirTemp("", "thrum-check-"+m.Kind()+"-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = forms.Write(dir, m)
	}
	if err != nil {
		c.found(m.Kind(), errors.Join(errors.New("it is not written"), err), true)
		return
	}
	for _, p := range precisions {
		if p.name != "int8" {
			c.model(subject{dir, "generated " + m.Kind(), m.Batch}, p.name, p.tolerance)
		}
	}
}
