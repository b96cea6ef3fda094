package oip

import (
	"fmt"
	"slices"
)

// Spec is what a model takes or gives under one name; -1 in its shape is a dimension that varies.
type Spec struct {
	Name     string   `json:"name"`
	Datatype Datatype `json:"datatype"`
	Shape    []int64  `json:"shape"`
}

// Model is what a server tells of a model.
type Model struct {
	Name     string   `json:"name"`
	Versions []string `json:"versions"`
	Platform string   `json:"platform"`
	Inputs   []Spec   `json:"inputs"` // none if the server does not know
	Outputs  []Spec   `json:"outputs"`
}

// Rows returns the rows of a request: the first dimension, if it varies in every input of m, or
// else 1.
func (m Model) Rows(r Request) int {
	for _, s := range m.Inputs {
		if len(s.Shape) == 0 || s.Shape[0] >= 0 {
			return 1
		}
	}
	return r.Rows()
}

// Check reports an input that m does not take or takes otherwise, one that is missing, and an
// output that m does not give. A model whose server does not say what it takes gets everything.
func (m Model) Check(r Request) error {
	if len(m.Inputs) == 0 {
		return nil
	}
	for _, t := range r.Inputs {
		spec, ok := find(m.Inputs, t.Name)
		switch {
		case !ok:
			return fmt.Errorf("model %s has no input %q: it takes %v", m.Name, t.Name, m.Inputs)
		case t.Datatype != spec.Datatype:
			return fmt.Errorf("input %q is %s%v, model %s expects %v", t.Name, t.Datatype, t.Shape, m.Name, spec)
		case !fits(t.Shape, spec.Shape):
			return fmt.Errorf("input %q has shape %v, model %s expects %v (-1 is any size)", t.Name, t.Shape, m.Name, spec)
		}
	}
	for _, spec := range m.Inputs {
		if !slices.ContainsFunc(r.Inputs, func(t Tensor) bool { return t.Name == spec.Name }) {
			return fmt.Errorf("input %v of model %s is missing", spec, m.Name)
		}
	}
	for _, name := range r.Outputs {
		if _, ok := find(m.Outputs, name); !ok && len(m.Outputs) > 0 {
			return fmt.Errorf("model %s has no output %q: it gives %v", m.Name, name, m.Outputs)
		}
	}
	return nil
}

// String returns the name with datatype and shape.
func (s Spec) String() string { return fmt.Sprintf("%s %s%v", s.Name, s.Datatype, s.Shape) }

func find(specs []Spec, name string) (Spec, bool) {
	i := slices.IndexFunc(specs, func(s Spec) bool { return s.Name == name })
	if i < 0 {
		return Spec{}, false
	}
	return specs[i], true
}

func fits(shape, spec []int64) bool {
	return slices.EqualFunc(shape, spec, func(have, want int64) bool { return want < 0 || have == want })
}
