package oip

import (
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// claim takes an input's binary data from what follows the JSON.
func (d *decoder) claim(in *input) error {
	if in.binary > len(d.rest) {
		return in.invalid("binary_data_size is %d, but %d bytes are left after the JSON", in.binary, len(d.rest))
	}
	in.tensor.Data = d.rest[:in.binary:in.binary]
	d.rest = d.rest[in.binary:]
	return checkBools(in.tensor)
}

// checkBools reports a byte of a BOOL tensor that is neither 0 nor 1.
func checkBools(t backends.Tensor) error {
	if t.Datatype != backends.Bool {
		return nil
	}
	if i := slices.IndexFunc(t.Data, func(b byte) bool { return b > 1 }); i >= 0 {
		return backends.Errorf(backends.ErrInvalid, "input %q: element %d is byte %d, a BOOL is 0 or 1", t.Name, i, t.Data[i])
	}
	return nil
}

// decodeRaw reads a body that is the data of the model's only input. Its shape follows from
// the signature and the size: a batched model gets one row, and one more dimension may vary.
func decodeRaw(body []byte, sig backends.Signature) (Request, error) {
	if len(sig.Inputs) != 1 {
		return Request{}, backends.Errorf(backends.ErrInvalid, "a body without JSON needs a model of one input, this one takes %d", len(sig.Inputs))
	}
	spec := sig.Inputs[0]
	t := backends.Tensor{Name: spec.Name, Datatype: spec.Datatype, Shape: slices.Clone(spec.Shape), Data: body}
	if sig.Batched && len(t.Shape) > 0 && t.Shape[0] < 0 {
		t.Shape[0] = 1
	}
	if err := deduce(&t); err != nil {
		return Request{}, err
	}
	if err := checkBools(t); err != nil {
		return Request{}, err
	}
	req := Request{Batch: backends.Batch{Tensors: []backends.Tensor{t}}, Binary: slices.Repeat([]bool{true}, len(sig.Outputs))}
	return req, sig.Check(req.Batch)
}

// deduce fills in the dimension that varies. A BYTES tensor gets the length that its only
// element comes without.
func deduce(t *backends.Tensor) error {
	size := len(t.Data)
	if t.Datatype == backends.Bytes {
		t.Data = backends.AppendBytesElement(make([]byte, 0, 4+size), t.Data)
	} else {
		size /= t.Datatype.Size()
	}
	open := -1
	for i, n := range t.Shape {
		if n >= 0 {
			continue
		}
		if open >= 0 {
			return backends.Errorf(backends.ErrInvalid, "a body without JSON needs an input with at most one dimension that varies, %q has shape %v", t.Name, t.Shape)
		}
		open = i
	}
	if open < 0 {
		return nil
	}
	t.Shape[open] = 1
	if fixed := t.Elements(); t.Datatype != backends.Bytes && fixed > 0 {
		t.Shape[open] = int64(size) / fixed
	}
	return nil
}
