// Package oip is the client's side of the Open Inference Protocol (version 2) over HTTP, for any
// server that speaks it: what a model takes and gives, requests and answers in JSON and with
// binary tensors, and whether two answers are equal.
package oip

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// HeadHeader is the header with the length of a body's JSON where binary tensors follow it.
const HeadHeader = "Inference-Header-Content-Length"

// Request is an inference request.
type Request struct {
	ID         string
	Inputs     []Tensor
	Outputs    []string                   // those wanted; nil for all
	Parameters map[string]json.RawMessage // without those of the protocol's own that say how tensors travel
}

// Form is how tensors travel.
type Form struct {
	BinaryInputs  bool
	BinaryOutputs bool
}

// Rows returns the first dimension of the first input, 1 if there is none.
func (r Request) Rows() int {
	if len(r.Inputs) == 0 || len(r.Inputs[0].Shape) == 0 {
		return 1
	}
	return int(r.Inputs[0].Shape[0])
}

// Bytes returns the size of the inputs' data.
func (r Request) Bytes() int {
	n := 0
	for _, t := range r.Inputs {
		n += len(t.Data)
	}
	return n
}

// document is a request or an answer as JSON.
type document struct {
	Model      string                     `json:"model_name,omitempty"`
	Version    string                     `json:"model_version,omitempty"`
	ID         string                     `json:"id,omitempty"`
	Parameters map[string]json.RawMessage `json:"parameters,omitempty"`
	Inputs     []element                  `json:"inputs,omitempty"`
	Outputs    []element                  `json:"outputs,omitempty"`
}

// element is a tensor in it, or just the name of a wanted one.
type element struct {
	Name       string          `json:"name"`
	Datatype   Datatype        `json:"datatype,omitempty"`
	Shape      *[]int64        `json:"shape,omitempty"`
	Parameters *form           `json:"parameters,omitempty"`
	Data       json.RawMessage `json:"data,omitempty"`
}

type form struct {
	Size *int `json:"binary_data_size,omitempty"`
}

// binaryOutput is the request parameter that asks for binary tensors.
const binaryOutput = "binary_data_output"

// EncodeRequest returns the body of r and the length of the JSON at its start, 0 if all of it is
// JSON. What JSON has no form for (NaN, infinities, FP16, BF16, text that is not UTF-8) is an error
// that advises a binary body.
func EncodeRequest(r Request, f Form) (body []byte, head int, err error) {
	d := document{ID: r.ID, Parameters: map[string]json.RawMessage{}}
	for name, value := range r.Parameters {
		d.Parameters[name] = value
	}
	if f.BinaryOutputs {
		d.Parameters[binaryOutput] = json.RawMessage("true")
	}
	for _, name := range r.Outputs {
		d.Outputs = append(d.Outputs, element{Name: name})
	}
	for _, t := range r.Inputs {
		e, err := encode(t, f.BinaryInputs)
		if err != nil {
			return nil, 0, err
		}
		d.Inputs = append(d.Inputs, e)
	}
	if body, err = json.Marshal(d); err != nil || !f.BinaryInputs {
		return body, 0, err
	}
	head = len(body)
	for _, t := range r.Inputs {
		body = append(body, t.Data...)
	}
	return body, head, nil
}

func encode(t Tensor, binary bool) (element, error) {
	if err := t.Check(); err != nil {
		return element{}, err
	}
	shape := append([]int64{}, t.Shape...) // never null
	e := element{Name: t.Name, Datatype: t.Datatype, Shape: &shape}
	if size := len(t.Data); binary {
		e.Parameters = &form{&size}
		return e, nil
	}
	var err error
	e.Data, err = encodeData(t)
	return e, err
}

func encodeData(t Tensor) ([]byte, error) {
	if t.Datatype == FP16 || t.Datatype == BF16 {
		return nil, fmt.Errorf("tensor %q is %s, which has no JSON form: send binary bodies", t.Name, t.Datatype)
	}
	text := []byte{'['}
	for i, e := range t.elements() {
		if i > 0 {
			text = append(text, ',')
		}
		if !hasText(t.Datatype, e) {
			return nil, fmt.Errorf("tensor %q: element %d is %s, which JSON does not have: send binary bodies", t.Name, i, describe(t.Datatype, e))
		}
		text = appendText(text, t.Datatype, e)
	}
	return append(text, ']'), nil
}

func hasText(d Datatype, element []byte) bool {
	if d == Bytes {
		return utf8.Valid(element)
	}
	return !d.Float() || !math.IsNaN(float(d, element)) && !math.IsInf(float(d, element), 0)
}

// describe returns an element for an error's text.
func describe(d Datatype, element []byte) string {
	if d == Bytes {
		if len(element) > 40 {
			return strconv.Quote(string(element[:40])) + "…"
		}
		return strconv.Quote(string(element))
	}
	return string(appendText(nil, d, element))
}

// DecodeRequest reads the body of a request. head is the length of the JSON at its start, 0 if all
// of it is. Binary tensors of the request alias body.
func DecodeRequest(body []byte, head int) (Request, error) {
	d, rest, err := decode(body, head)
	if err != nil {
		return Request{}, err
	}
	if len(d.Inputs) == 0 {
		return Request{}, errors.New(`the request has no inputs: it should look like {"inputs": [{"name", "datatype", "shape", "data"}]}`)
	}
	r := Request{ID: d.ID, Parameters: d.Parameters}
	delete(r.Parameters, binaryOutput)
	if len(r.Parameters) == 0 {
		r.Parameters = nil
	}
	for _, o := range d.Outputs {
		r.Outputs = append(r.Outputs, o.Name)
	}
	r.Inputs, err = tensors(d.Inputs, head > 0, rest)
	return r, err
}

// Response is an answer.
type Response struct {
	Model, Version, ID string
	Outputs            []Tensor
}

// DecodeResponse reads the body of an answer, as DecodeRequest does that of a request.
func DecodeResponse(body []byte, head int) (Response, error) {
	d, rest, err := decode(body, head)
	if err != nil {
		return Response{}, err
	}
	r := Response{Model: d.Model, Version: d.Version, ID: d.ID}
	r.Outputs, err = tensors(d.Outputs, head > 0, rest)
	return r, err
}

func decode(body []byte, head int) (d document, rest []byte, err error) {
	if head < 0 || head > len(body) {
		return d, nil, fmt.Errorf("the JSON's length is given as %d, but the body has %d bytes", head, len(body))
	}
	text := body
	if head > 0 {
		text, rest = body[:head], body[head:]
	}
	if err := json.Unmarshal(text, &d); err != nil {
		return d, nil, fmt.Errorf("the JSON cannot be read: %w", err)
	}
	return d, rest, nil
}

// tensors completes elements with what follows the JSON.
func tensors(elements []element, binary bool, rest []byte) ([]Tensor, error) {
	var all []Tensor
	for _, e := range elements {
		t := Tensor{Name: e.Name, Datatype: e.Datatype}
		if e.Shape != nil {
			t.Shape = *e.Shape
		}
		var err error
		if rest, err = e.fill(&t, binary, rest); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(all, func(o Tensor) bool { return o.Name == t.Name }) {
			return nil, fmt.Errorf("tensor %q is given twice", t.Name)
		}
		all = append(all, t)
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%d bytes follow the last binary tensor", len(rest))
	}
	return all, nil
}

// fill gives t its data and returns what is left of the binary ones.
func (e element) fill(t *Tensor, binary bool, rest []byte) ([]byte, error) {
	if e.Parameters == nil || e.Parameters.Size == nil {
		if e.Data == nil {
			return rest, fmt.Errorf("tensor %q has neither data nor binary_data_size", t.Name)
		}
		if err := readData(e.Data, t); err != nil {
			return rest, err
		}
		return rest, t.Check()
	}
	size := *e.Parameters.Size
	switch {
	case !binary:
		return rest, fmt.Errorf("tensor %q is announced as binary data, but header %s is missing", t.Name, HeadHeader)
	case size < 0 || size > len(rest):
		return rest, fmt.Errorf("tensor %q: %d bytes of binary data are announced, %d are left", t.Name, size, len(rest))
	}
	t.Data = rest[:size:size]
	return rest[size:], t.Check()
}
