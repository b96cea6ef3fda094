package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/thrumserve/thrum/loadtest/attack"
)

// dialect is how a system is asked. The generator, its schedule and the values are the same for all.
type dialect struct {
	path   string // of a request; %s is the model
	header map[string]string
	encode func(m model, row []float32) attack.Request
	decode func(r attack.Reply) ([]float32, error) // the values of the output asked for
}

// The dialects: the Open Inference Protocol with either body, an object with rows, and bytes alone.
var (
	oipJSON = dialect{path: "/v2/models/%s/infer", decode: decodeOIP,
		encode: func(m model, row []float32) attack.Request {
			return attack.Request{Body: mustJSON(oipRequest(m, row, nil)), Rows: 1}
		}}
	oipBinary = dialect{path: "/v2/models/%s/infer", decode: decodeOIPBinary,
		encode: func(m model, row []float32) attack.Request {
			head := mustJSON(oipRequest(m, nil, map[string]any{"binary_data_size": 4 * len(row)}))
			return attack.Request{Body: append(head, floatBytes(row)...), Head: len(head), Rows: 1}
		}}
	rows = dialect{path: "/predict", decode: decodeRows,
		encode: func(_ model, row []float32) attack.Request {
			return attack.Request{Body: mustJSON(map[string]any{"x": [][]float32{row}}), Rows: 1}
		}}
	raw = dialect{header: map[string]string{"Content-Type": "application/octet-stream"}, decode: decodeRaw,
		encode: func(_ model, row []float32) attack.Request {
			return attack.Request{Body: floatBytes(row), Rows: 1}
		}}
)

// under is d at another path.
func (d dialect) under(path string) dialect {
	d.path = path
	return d
}

func (d dialect) requests(m model) []attack.Request {
	all := make([]attack.Request, len(m.rows))
	for i, row := range m.rows {
		all[i] = d.encode(m, row)
	}
	return all
}

type tensor struct {
	Name       string         `json:"name"`
	Shape      []int          `json:"shape,omitempty"`
	Datatype   string         `json:"datatype,omitempty"`
	Parameters map[string]any `json:"parameters,omitempty"`
	Data       []float32      `json:"data,omitempty"`
}

type inference struct {
	Inputs  []tensor `json:"inputs,omitempty"`
	Outputs []tensor `json:"outputs"`
}

func oipRequest(m model, row []float32, binarySize map[string]any) inference {
	out := tensor{Name: m.output}
	if binarySize != nil {
		out.Parameters = map[string]any{"binary_data": true}
	}
	in := tensor{Name: m.input, Shape: append([]int{1}, m.shape...), Datatype: "FP32", Parameters: binarySize, Data: row}
	return inference{Inputs: []tensor{in}, Outputs: []tensor{out}}
}

func decodeOIP(r attack.Reply) ([]float32, error) {
	var answer inference
	if err := json.Unmarshal(r.Body, &answer); err != nil {
		return nil, err
	}
	if len(answer.Outputs) != 1 {
		return nil, fmt.Errorf("%d outputs, want the one asked for", len(answer.Outputs))
	}
	return answer.Outputs[0].Data, nil
}

func decodeOIPBinary(r attack.Reply) ([]float32, error) {
	if r.Head <= 0 || r.Head > len(r.Body) {
		return nil, errors.New("the answer has no binary tensor")
	}
	return parseFloats(r.Body[r.Head:])
}

func decodeRaw(r attack.Reply) ([]float32, error) { return parseFloats(r.Body) }

// decodeRows takes one row out of an array, or out of an object with one in it.
func decodeRows(r attack.Reply) ([]float32, error) {
	var object map[string]json.RawMessage
	text := json.RawMessage(r.Body)
	if json.Unmarshal(text, &object) == nil {
		text = object["y"]
	}
	var table [][]float32
	if err := json.Unmarshal(text, &table); err != nil || len(table) != 1 {
		return nil, fmt.Errorf("the answer is not one row: %.100s", r.Body)
	}
	return table[0], nil
}

func floatBytes(values []float32) []byte {
	data := make([]byte, 0, 4*len(values))
	for _, v := range values {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	return data
}

func parseFloats(data []byte) ([]float32, error) {
	if len(data)%4 != 0 {
		return nil, fmt.Errorf("%d bytes are no floats", len(data))
	}
	values := make([]float32, len(data)/4)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return values, nil
}

func mustJSON(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // maps of numbers and strings
	}
	return text
}
