package backends

import "slices"

// TensorSpec says what a model takes or gives under one name.
type TensorSpec struct {
	Name     string
	Datatype Datatype
	Shape    []int64  // -1 for a dimension that varies; the batch dimension included
	Optional bool     // an input that may be left out
	Labels   []string // what the last dimension's columns stand for, if the model says so
}

// Signature is what a loaded model takes and gives.
type Signature struct {
	Platform string // informational, such as "onnx_onnxv1"
	Inputs   []TensorSpec
	Outputs  []TensorSpec

	// Precision is what the model computes its products in, such as "fp32", "bf16" or "int8";
	// empty where the backend does not say. Inputs and outputs have their own datatypes whatever
	// it is.
	Precision string

	// Batched says that the first dimension of every input and output counts rows, and that
	// rows do not influence each other, so that rows of several requests may share a run.
	Batched bool
}

// Check reports what of a request does not fit the signature, as an ErrInvalid that says what
// to change: an unknown, missing or repeated input, a wrong datatype or shape, data that does
// not fit its shape, inputs with different numbers of rows, an unknown or repeated output.
func (s Signature) Check(in Batch) error {
	for i, t := range in.Tensors {
		spec, ok := find(s.Inputs, t.Name)
		if !ok {
			return Errorf(ErrInvalid, "unknown input %q: this model takes %v", t.Name, names(s.Inputs))
		}
		if slices.ContainsFunc(in.Tensors[:i], func(o Tensor) bool { return o.Name == t.Name }) {
			return Errorf(ErrInvalid, "input %q is given twice", t.Name)
		}
		if t.Datatype != spec.Datatype {
			return Errorf(ErrInvalid, "input %q: datatype %v given, %v expected", t.Name, t.Datatype, spec.Datatype)
		}
		if !fits(t.Shape, spec.Shape) {
			return Errorf(ErrInvalid, "input %q: shape %v given, %v expected (-1 is any size)", t.Name, t.Shape, spec.Shape)
		}
		if err := t.Check(); err != nil {
			return err
		}
		if s.Batched && t.Shape[0] != int64(in.Rows()) {
			return Errorf(ErrInvalid, "input %q has %d rows but input %q has %d: all inputs need the same first dimension",
				t.Name, t.Shape[0], in.Tensors[0].Name, in.Rows())
		}
	}
	for _, spec := range s.Inputs {
		if _, ok := in.Tensor(spec.Name); !ok && !spec.Optional {
			return Errorf(ErrInvalid, "input %q is missing: this model takes %v", spec.Name, names(s.Inputs))
		}
	}
	for i, name := range in.Outputs {
		if _, ok := find(s.Outputs, name); !ok {
			return Errorf(ErrInvalid, "unknown output %q: this model gives %v", name, names(s.Outputs))
		}
		if slices.Contains(in.Outputs[:i], name) {
			return Errorf(ErrInvalid, "output %q is asked for twice", name)
		}
	}
	return nil
}

// Input returns the spec of the input of that name.
func (s Signature) Input(name string) (TensorSpec, bool) { return find(s.Inputs, name) }

// Output returns the spec of the output of that name.
func (s Signature) Output(name string) (TensorSpec, bool) { return find(s.Outputs, name) }

func find(specs []TensorSpec, name string) (TensorSpec, bool) {
	for i := range specs {
		if specs[i].Name == name {
			return specs[i], true
		}
	}
	return TensorSpec{}, false
}

func names(specs []TensorSpec) []string {
	all := make([]string, len(specs))
	for i := range specs {
		all[i] = specs[i].Name
	}
	return all
}

func fits(shape, spec []int64) bool {
	return slices.EqualFunc(shape, spec, func(have, want int64) bool {
		return have >= 0 && (want < 0 || have == want)
	})
}
