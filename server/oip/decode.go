// Package oip speaks the Open Inference Protocol (version 2) in JSON with the binary tensor
// extension: it turns the body of an infer request into a batch and a batch into the body of
// a response. It knows no HTTP server.
//
// What is lenient, so that existing clients work: keys may come in any order, so that data may
// precede shape and datatype; unknown keys and unknown parameters of a tensor are ignored;
// null stands for an optional key that is absent; data may be flat or nested like the shape;
// 2.0 and 2e3 are integers; 0 and 1 are booleans. What is strict, because guessing would give
// a wrong answer: a known key that occurs twice, any malformed JSON, NaN and infinities, and
// numbers that the datatype cannot hold.
package oip

import (
	"time"

	"github.com/thrumserve/thrum/backends"
)

// Request is a decoded infer request.
type Request struct {
	ID      string
	HasID   bool
	Batch   backends.Batch
	Binary  []bool        // for each tensor of the answer, whether it goes as binary data
	Timeout time.Duration // what the client allows; 0 if it does not say
}

// AllJSON is the length of the JSON of a body without binary data.
const AllJSON = -1

// Decode reads the body of an infer request for a model of signature sig. jsonLength is the
// length of the JSON at the body's start, after which the tensors that are binary follow;
// AllJSON for a body that is JSON alone; 0 for a body that is the data of the model's only
// input.
//
// With AllJSON nothing of body is kept; otherwise the tensors alias it. The batch has passed
// sig.Check. Errors are an ErrInvalid or ErrUnsupported that says what to change.
func Decode(body []byte, jsonLength int, sig backends.Signature) (Request, error) {
	switch {
	case jsonLength == 0:
		return decodeRaw(body, sig)
	case jsonLength == AllJSON:
		jsonLength = len(body)
	case jsonLength < 0 || jsonLength > len(body):
		return Request{}, backends.Errorf(backends.ErrInvalid, "the JSON's length is given as %d, but the body has %d bytes", jsonLength, len(body))
	}
	d := &decoder{cursor: cursor{text: body[:jsonLength]}, sig: sig, rest: body[jsonLength:]}
	if err := d.request(); err != nil {
		return Request{}, err
	}
	return d.req, d.finish()
}

type decoder struct {
	cursor
	sig       backends.Signature
	req       Request
	rest      []byte // binary data that no input has claimed yet
	binaryAll bool
	binary    []tristate // what each requested output says of its own form
}

// tristate is a boolean that may be absent.
type tristate byte

const (
	unset tristate = iota
	no
	yes
)

// once returns the name that key is among names, or "" for an unknown key; a known key may
// come once. seen has a bit for each name.
func once(seen *uint8, names []string, key []byte) (string, error) {
	for i, name := range names {
		if string(key) != name {
			continue
		}
		if *seen&(1<<i) != 0 {
			return "", backends.Errorf(backends.ErrInvalid, "key %q is given twice in one object", name)
		}
		*seen |= 1 << i
		return name, nil
	}
	return "", nil
}

var requestKeys = []string{"id", "parameters", "inputs", "outputs"}

func (d *decoder) request() error {
	var seen uint8
	err := d.object(func(key []byte) error {
		name, err := once(&seen, requestKeys, key)
		if err != nil {
			return err
		}
		switch name {
		case "id":
			return d.id()
		case "parameters":
			return d.parameters("the request", d.parameter)
		case "inputs":
			return d.array(d.input)
		case "outputs":
			if d.null() {
				return nil
			}
			return d.array(d.output)
		}
		return d.skip(1)
	})
	if err != nil {
		return err
	}
	if d.peek(); d.at != len(d.text) {
		return d.malformed("the end")
	}
	return nil
}

func (d *decoder) id() error {
	if d.null() {
		return nil
	}
	id, err := d.str()
	if err != nil {
		return err
	}
	d.req.ID, d.req.HasID = string(id), true
	return nil
}

// finish checks what only the whole request shows.
func (d *decoder) finish() error {
	if len(d.rest) > 0 {
		return backends.Errorf(backends.ErrInvalid, "%d bytes of binary data follow those that the inputs claim", len(d.rest))
	}
	if err := sortParameters(d.req.Batch.Parameters); err != nil {
		return err
	}
	if err := d.sig.Check(d.req.Batch); err != nil {
		return err
	}
	return d.forms()
}

// forms settles for each tensor of the answer whether it goes as binary data.
func (d *decoder) forms() error {
	outputs := d.req.Batch.Outputs
	count := len(outputs)
	if outputs == nil {
		count = len(d.sig.Outputs)
	}
	d.req.Binary = make([]bool, count)
	for i := range d.req.Binary {
		d.req.Binary[i] = d.binaryAll
		if outputs != nil && d.binary[i] != unset {
			d.req.Binary[i] = d.binary[i] == yes
		}
		if err := d.hasForm(i); err != nil {
			return err
		}
	}
	return nil
}

// hasForm refuses an answer that JSON has no form for before it is computed.
func (d *decoder) hasForm(i int) error {
	spec := d.sig.Outputs[i]
	if d.req.Batch.Outputs != nil {
		spec, _ = d.sig.Output(d.req.Batch.Outputs[i])
	}
	if half := spec.Datatype == backends.FP16 || spec.Datatype == backends.BF16; half && !d.req.Binary[i] {
		return backends.Errorf(backends.ErrInvalid, "output %q is %v, which has no JSON form: ask for it with binary_data", spec.Name, spec.Datatype)
	}
	return nil
}

var outputKeys = []string{"name", "parameters"}

// output reads one requested output.
func (d *decoder) output(i int) error {
	if i >= len(d.sig.Outputs) {
		return backends.Errorf(backends.ErrInvalid, "more outputs are asked for than the %d that this model gives", len(d.sig.Outputs))
	}
	var seen uint8
	var name string
	form := unset
	err := d.object(func(key []byte) error {
		known, err := once(&seen, outputKeys, key)
		if err != nil {
			return err
		}
		switch known {
		case "name":
			name, err = d.name()
			return err
		case "parameters":
			return d.parameters("an output", func(name string, v value) error { return outputParameter(&form, name, v) })
		}
		return d.skip(3)
	})
	if err != nil {
		return err
	}
	d.req.Batch.Outputs = append(d.req.Batch.Outputs, name)
	d.binary = append(d.binary, form)
	return nil
}

func outputParameter(form *tristate, name string, v value) error {
	switch name {
	case "binary_data":
		if v.kind != boolean {
			return backends.Errorf(backends.ErrInvalid, "output parameter binary_data must be true or false")
		}
		if *form = no; v.on {
			*form = yes
		}
	case "classification":
		return backends.Errorf(backends.ErrUnsupported, "output parameter classification is not supported: ask for the scores and rank them")
	case "shared_memory_region", "shared_memory_byte_size", "shared_memory_offset":
		return backends.Errorf(backends.ErrUnsupported, "output parameter %s: shared memory is not supported", name)
	}
	return nil
}
