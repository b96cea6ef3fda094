package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
)

// body is what is posted. jsonLength is above 0 for the protocol's binary form.
type body struct {
	name       string
	bytes      []byte
	jsonLength int
}

const width = 784

// request and tensor have their keys in the order in which clients send them.
type request struct {
	Parameters map[string]any `json:"parameters,omitempty"`
	Inputs     []tensor       `json:"inputs"`
}

type tensor struct {
	Name       string         `json:"name"`
	Shape      []int          `json:"shape"`
	Datatype   string         `json:"datatype"`
	Parameters map[string]any `json:"parameters,omitempty"`
	Data       []float32      `json:"data,omitempty"`
}

// bodies are the same 784 floats as JSON and as binary data.
func bodies() []body {
	rng := rand.New(rand.NewPCG(1, 2))
	values := make([]float32, width)
	for i := range values {
		values[i] = rng.Float32()
	}
	in := tensor{Name: "x", Shape: []int{1, width}, Datatype: "FP32", Data: values}
	text := mustJSON(request{Inputs: []tensor{in}})

	in.Data, in.Parameters = nil, map[string]any{"binary_data_size": 4 * width}
	head := mustJSON(request{Inputs: []tensor{in}, Parameters: map[string]any{"binary_data_output": true}})
	raw := head
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	return []body{{"JSON", text, 0}, {"binary", raw, len(head)}}
}

func mustJSON(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // maps of numbers and strings
	}
	return text
}

// request is the whole HTTP request.
func (b body) request(path, address string) []byte {
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", path, address, len(b.bytes))
	if b.jsonLength > 0 {
		head += fmt.Sprintf("Content-Type: application/octet-stream\r\nInference-Header-Content-Length: %d\r\n", b.jsonLength)
	} else {
		head += "Content-Type: application/json\r\n"
	}
	return append([]byte(head+"\r\n"), b.bytes...)
}
