package oip

import (
	"math"
	"strconv"

	"github.com/thrumserve/thrum/backends"
)

// maxRank bounds the dimensions of a tensor.
const maxRank = 32

// input is one input while its keys come in.
type input struct {
	tensor backends.Tensor
	index  int
	seen   uint8
	data   int // where data that cannot be read yet begins; 0 for none
	given  bool
	binary int // bytes of binary data; -1 for none
}

var inputKeys = []string{"name", "datatype", "shape", "parameters", "data"}

// typed has the bits in seen of the keys that must be known before data can be read.
const typed = 1<<0 | 1<<1 | 1<<2

// label names the input for an error even before its name is known.
func (in *input) label() string {
	if in.tensor.Name != "" {
		return in.tensor.Name
	}
	return "inputs[" + strconv.Itoa(in.index) + "]"
}

func (in *input) invalid(format string, args ...any) error {
	return backends.Errorf(backends.ErrInvalid, "input %q: "+format, append([]any{in.label()}, args...)...)
}

// input reads one input tensor.
func (d *decoder) input(i int) error {
	if i >= len(d.sig.Inputs) {
		return backends.Errorf(backends.ErrInvalid, "more inputs are given than the %d that this model takes", len(d.sig.Inputs))
	}
	in := &input{index: i, binary: -1}
	err := d.object(func(key []byte) error {
		name, err := once(&in.seen, inputKeys, key)
		if err != nil {
			return in.invalid("%w", err)
		}
		return d.inputKey(in, name)
	})
	if err != nil {
		return err
	}
	if err := d.inputData(in); err != nil {
		return err
	}
	d.req.Batch.Tensors = append(d.req.Batch.Tensors, in.tensor)
	return nil
}

func (d *decoder) inputKey(in *input, key string) error {
	switch key {
	case "name":
		return d.inputName(in)
	case "datatype":
		name, err := d.name()
		if err != nil {
			return err
		}
		if in.tensor.Datatype, err = backends.ParseDatatype(name); err != nil {
			return in.invalid("%w", err)
		}
		return nil
	case "shape":
		return d.shape(in)
	case "parameters":
		return d.parameters("input "+strconv.Quote(in.label()), in.parameter)
	case "data":
		return d.data(in)
	}
	return d.skip(3)
}

// inputName reads the name and refuses one that the model does not take before its data is read.
func (d *decoder) inputName(in *input) error {
	name, err := d.name()
	if err != nil {
		return err
	}
	in.tensor.Name = name
	if _, ok := d.sig.Input(in.tensor.Name); ok {
		return nil
	}
	return d.sig.Check(backends.Batch{Tensors: []backends.Tensor{{Name: in.tensor.Name}}})
}

func (d *decoder) shape(in *input) error {
	in.tensor.Shape = make([]int64, 0, 4)
	return d.array(func(i int) error {
		if i == maxRank {
			return in.invalid("more than %d dimensions", maxRank)
		}
		start := d.at
		n, err := d.value()
		if err != nil {
			return in.invalid("shape: %w", err)
		}
		size, ok := n.integer()
		if !ok || size > math.MaxInt64 {
			d.at = start
			d.peek()
			return in.invalid("dimension %d is %s, an integer of 0 or more is expected", i, d.token(d.at))
		}
		in.tensor.Shape = append(in.tensor.Shape, int64(size))
		return nil
	})
}

func (in *input) parameter(name string, v value) error {
	switch name {
	case "binary_data_size":
		size, ok := v.size()
		if !ok {
			return in.invalid("parameter binary_data_size must be a number of bytes, 0 or more")
		}
		in.binary = size
	case "shared_memory_region", "shared_memory_byte_size", "shared_memory_offset":
		return backends.Errorf(backends.ErrUnsupported, "input %q: parameter %s: shared memory is not supported", in.label(), name)
	}
	return nil
}

// data reads the data, or passes over it where name, datatype and shape are still to come.
func (d *decoder) data(in *input) error {
	if d.null() {
		return nil
	}
	in.given = true
	if in.seen&typed == typed {
		return d.read(in)
	}
	in.data = d.at
	return d.skip(3)
}

// read reads the data at the cursor.
func (d *decoder) read(in *input) error {
	if in.tensor.Elements() < 0 {
		return in.invalid("shape %v overflows", in.tensor.Shape)
	}
	return readArray(&d.cursor, &in.tensor)
}

// inputData completes an input whose keys are all known.
func (d *decoder) inputData(in *input) error {
	for i, key := range inputKeys[:3] {
		if in.seen&(1<<i) == 0 {
			return in.invalid("key %q is missing", key)
		}
	}
	switch {
	case in.binary >= 0 && in.given:
		return in.invalid("both data and binary_data_size are given")
	case in.binary >= 0:
		return d.claim(in)
	case !in.given:
		return in.invalid("neither data nor binary_data_size is given")
	case in.data == 0:
		return nil
	}
	after := d.at
	d.at = in.data
	err := d.read(in)
	d.at = after
	return err
}
