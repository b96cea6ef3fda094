package onnx

import (
	"encoding/binary"
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// datatypes are ONNX's element types by number. Those that thrum has no datatype for keep
// their name, so that a refusal can say it.
var datatypes = []struct {
	name string
	is   backends.Datatype
}{
	{"UNDEFINED", backends.Invalid},
	{"FLOAT", backends.FP32},
	{"UINT8", backends.Uint8},
	{"INT8", backends.Int8},
	{"UINT16", backends.Uint16},
	{"INT16", backends.Int16},
	{"INT32", backends.Int32},
	{"INT64", backends.Int64},
	{"STRING", backends.Bytes},
	{"BOOL", backends.Bool},
	{"FLOAT16", backends.FP16},
	{"DOUBLE", backends.FP64},
	{"UINT32", backends.Uint32},
	{"UINT64", backends.Uint64},
	{"COMPLEX64", backends.Invalid},
	{"COMPLEX128", backends.Invalid},
	{"BFLOAT16", backends.BF16},
	{"FLOAT8E4M3FN", backends.Invalid},
	{"FLOAT8E4M3FNUZ", backends.Invalid},
	{"FLOAT8E5M2", backends.Invalid},
	{"FLOAT8E5M2FNUZ", backends.Invalid},
	{"UINT4", backends.Invalid},
	{"INT4", backends.Invalid},
	{"FLOAT4E2M1", backends.Invalid},
	{"FLOAT8E8M0", backends.Invalid},
	{"UINT2", backends.Invalid},
	{"INT2", backends.Invalid},
	{"FLOAT6E2M3", backends.Invalid},
	{"FLOAT6E3M2", backends.Invalid},
}

// datatype returns the datatype of an ONNX element type.
func datatype(kind int64) (backends.Datatype, error) {
	if kind <= 0 || kind >= int64(len(datatypes)) {
		return backends.Invalid, backends.Errorf(backends.ErrInvalid, "element type %d does not exist", kind)
	}
	if d := datatypes[kind]; d.is == backends.Invalid {
		return backends.Invalid, backends.Errorf(backends.ErrUnsupported, "element type %s is not supported", d.name)
	}
	return datatypes[kind].is, nil
}

// tensor converts a tensor of the file. Raw data is not copied; it may lie at any address.
func (t *tensorProto) tensor(files *externalFiles) (*backends.Tensor, error) {
	out, err := t.convert(files)
	if err != nil {
		return nil, backends.Errorf(kindOf(err), "tensor %q: %w", t.name, err)
	}
	return out, out.Check()
}

func (t *tensorProto) convert(files *externalFiles) (*backends.Tensor, error) {
	dt, err := datatype(t.kind)
	if err != nil {
		return nil, err
	}
	n := backends.Elements(t.dims)
	if n < 0 || n > 1<<40 {
		return nil, backends.Errorf(backends.ErrInvalid, "shape %v is negative or too large", t.dims)
	}
	if t.segmented {
		return nil, backends.Errorf(backends.ErrUnsupported, "data in segments is not supported")
	}
	data, err := t.data(dt, n*int64(dt.Size()), files)
	if err != nil {
		return nil, err
	}
	if dt == backends.Bool {
		if i := slices.IndexFunc(data, func(b byte) bool { return b > 1 }); i >= 0 {
			return nil, backends.Errorf(backends.ErrInvalid, "element %d is %d, which is no boolean", i, data[i])
		}
	}
	return &backends.Tensor{Name: t.name, Datatype: dt, Shape: append([]int64{}, t.dims...), Data: data}, nil
}

// data returns the elements in the layout of backends.Tensor, wherever the file keeps them.
func (t *tensorProto) data(dt backends.Datatype, size int64, files *externalFiles) ([]byte, error) {
	switch {
	case dt == backends.Bytes && (t.isOutside || t.hasRaw):
		return nil, backends.Errorf(backends.ErrInvalid, "strings cannot be stored as raw data")
	case dt == backends.Bytes:
		return joinStrings(t.strings), nil
	case t.isOutside:
		return files.read(t.external, size)
	case t.hasRaw:
		return t.raw, nil
	case dt == backends.FP32:
		return t.floats, nil
	case dt == backends.FP64:
		return t.doubles, nil
	}
	return packInts(t.ints, dt.Size()), nil
}

func joinStrings(all [][]byte) []byte {
	size := 0
	for _, s := range all {
		size += 4 + len(s)
	}
	data := make([]byte, 0, size)
	for _, s := range all {
		data = backends.AppendBytesElement(data, s)
	}
	return data
}

func packInts(all []int64, size int) []byte {
	data := make([]byte, 0, len(all)*size)
	for _, n := range all {
		switch size {
		case 1:
			data = append(data, byte(n))
		case 2:
			data = binary.LittleEndian.AppendUint16(data, uint16(n))
		case 4:
			data = binary.LittleEndian.AppendUint32(data, uint32(n))
		case 8:
			data = binary.LittleEndian.AppendUint64(data, uint64(n))
		}
	}
	return data
}
