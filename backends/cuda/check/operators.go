//go:build cuda

package main

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/thrumserve/thrum/backends"
)

// nodeCase is a line of the file of cases: a model of one node, with what it gives.
type nodeCase struct {
	Name            string
	Model           []byte
	Inputs, Outputs []nodeTensor
}

type nodeTensor struct {
	Name, Datatype string
	Shape          []int64
	Data           []byte
}

func (n nodeTensor) tensor() (backends.Tensor, error) {
	d, err := backends.ParseDatatype(n.Datatype)
	return backends.Tensor{Name: n.Name, Datatype: d, Shape: n.Shape, Data: n.Data}, err
}

// operators runs the node cases of a file. Those with an operator that the backend does not have, or a
// datatype, are refused.
func (c *checking) operators(file string) {
	f, err := os.Open(file)
	if err != nil {
		c.found("operators", err, true)
		return
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		c.found("operators", err, true)
		return
	}
	for d := json.NewDecoder(z); d.More(); {
		var n nodeCase
		if err := d.Decode(&n); err != nil {
			c.found("operators", err, true)
			return
		}
		if !c.begin(n.Name) {
			continue
		}
		if err := c.operator(n); errors.Is(err, backends.ErrUnsupported) {
			c.tell(refused)
		} else {
			c.found(n.Name, err, false)
		}
	}
}

func (c *checking) operator(n nodeCase) error {
	dir, err := os.MkdirTemp("", "thrum-check")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "model.onnx"), n.Model, 0o600); err != nil {
		return err
	}
	m, err := c.device.Load(context.Background(), backends.Spec{Dir: dir, MaxRows: 1})
	if err != nil {
		return err
	}
	defer m.Close()
	var in backends.Batch
	for _, t := range n.Inputs {
		tensor, err := t.tensor()
		if err != nil {
			return err
		}
		in.Tensors = append(in.Tensors, tensor)
	}
	out, err := m.Predict(context.Background(), in)
	if err != nil {
		return err
	}
	defer out.Release()
	for i, t := range n.Outputs {
		want, err := t.tensor()
		if err != nil {
			return err
		}
		if err := near(out.Tensors[i], want, 1e-3); err != nil {
			return fmt.Errorf("output %d: %w", i, err)
		}
	}
	return nil
}
