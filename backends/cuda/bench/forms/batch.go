package forms

import (
	"encoding/binary"
	"math"
	"math/rand/v2"

	"github.com/thrumserve/thrum/backends"
)

func batch(tensors ...backends.Tensor) backends.Batch { return backends.Batch{Tensors: tensors} }

func random(rows int) *rand.Rand { return rand.New(rand.NewPCG(2, uint64(rows))) }

// indices is a matrix of integers, element i of each row below limit(i).
func indices(name string, rows, columns int, limit func(i int) int) backends.Tensor {
	r := random(rows)
	t := backends.Tensor{Name: name, Datatype: backends.Int64, Shape: []int64{int64(rows), int64(columns)}}
	for i := range rows * columns {
		t.Data = binary.LittleEndian.AppendUint64(t.Data, r.Uint64N(uint64(limit(i%columns))))
	}
	return t
}

// numbers is FP32 of deviation one, each elements to a row.
func numbers(name string, rows, each int, shape ...int64) backends.Tensor {
	r := random(rows)
	t := backends.Tensor{Name: name, Datatype: backends.FP32, Shape: shape, Data: make([]byte, 0, 4*rows*each)}
	for range rows * each {
		t.Data = binary.LittleEndian.AppendUint32(t.Data, math.Float32bits(float32(r.NormFloat64())))
	}
	return t
}

// shifted adds to each column of a matrix of integers a number of its own.
func shifted(t backends.Tensor, by []int) backends.Tensor {
	for i := 0; i < len(t.Data); i += 8 {
		v := binary.LittleEndian.Uint64(t.Data[i:]) + uint64(by[i/8%len(by)])
		binary.LittleEndian.PutUint64(t.Data[i:], v)
	}
	return t
}
