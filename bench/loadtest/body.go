package main

import (
	"fmt"

	"github.com/thrumserve/thrum/loadtest/attack"
)

// smallBinary is a request with one row of four floats in the binary form of the Open Inference Protocol.
func smallBinary() attack.Request {
	head := `{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"parameters":{"binary_data_size":16}}]}`
	return attack.Request{Body: append([]byte(head), make([]byte, 16)...), Head: len(head), Rows: 1}
}

const path = "/v2/models/null/infer"

func target(address string) *attack.HTTP {
	return &attack.HTTP{URL: fmt.Sprintf("http://%s%s", address, path)}
}
