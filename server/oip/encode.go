package oip

import (
	"encoding/binary"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/thrumserve/thrum/backends"
)

// Response is what AppendResponse writes.
type Response struct {
	Model   string
	Version string
	ID      string
	HasID   bool
	Batch   backends.Batch
	Binary  []bool // for each tensor, whether it goes as binary data; JSON beyond its end
}

// AppendResponse appends the body of the response to dst and returns it with the length of
// the JSON at its start, after which the binary data follows, or AllJSON.
//
// A tensor that JSON has no form for (NaN, an infinity, FP16, BF16, text that is not UTF-8)
// is an ErrInvalid that advises to ask for it as binary data: a null or a string in its place
// would be read as something else by every client, and a bare NaN is no JSON.
func AppendResponse(dst []byte, r Response) ([]byte, int, error) {
	dst = slices.Grow(dst, r.size())
	start := len(dst)
	dst = r.appendHead(dst)
	anyBinary := false
	for i, t := range r.Batch.Tensors {
		if i > 0 {
			dst = append(dst, ',')
		}
		asBinary := i < len(r.Binary) && r.Binary[i]
		anyBinary = anyBinary || asBinary
		var err error
		if dst, err = appendTensor(dst, t, asBinary); err != nil {
			return dst[:start], AllJSON, err
		}
	}
	dst = append(dst, ']', '}')
	if !anyBinary {
		return dst, AllJSON, nil
	}
	length := len(dst) - start
	for i, t := range r.Batch.Tensors {
		if i < len(r.Binary) && r.Binary[i] {
			dst = append(dst, t.Data...)
		}
	}
	return dst, length, nil
}

// size guesses the bytes that the response takes.
func (r Response) size() int {
	size := 128 + len(r.Model) + len(r.ID)
	for i, t := range r.Batch.Tensors {
		size += 128 + len(t.Name) + len(t.Data)
		if i >= len(r.Binary) || !r.Binary[i] {
			size += 2 * len(t.Data)
		}
	}
	return size
}

// appendHead appends everything before the first output.
func (r Response) appendHead(dst []byte) []byte {
	dst = append(dst, `{"model_name":`...)
	dst = appendQuoted(dst, r.Model)
	dst = append(dst, `,"model_version":`...)
	dst = appendQuoted(dst, r.Version)
	if r.HasID {
		dst = append(dst, `,"id":`...)
		dst = appendQuoted(dst, r.ID)
	}
	if r.Batch.Trace.Cache != "" {
		dst = append(dst, `,"parameters":{"cache":`...)
		dst = appendQuoted(dst, string(r.Batch.Trace.Cache))
		dst = append(dst, '}')
	}
	return append(dst, `,"outputs":[`...)
}

func appendTensor(dst []byte, t backends.Tensor, asBinary bool) ([]byte, error) {
	dst = append(dst, `{"name":`...)
	dst = appendQuoted(dst, t.Name)
	dst = append(dst, `,"datatype":"`...)
	dst = append(dst, t.Datatype.String()...)
	dst = append(dst, `","shape":`...)
	dst = appendShape(dst, t.Shape)
	if asBinary {
		dst = append(dst, `,"parameters":{"binary_data_size":`...)
		dst = strconv.AppendInt(dst, int64(len(t.Data)), 10)
		return append(dst, '}', '}'), nil
	}
	dst = append(dst, `,"data":`...)
	dst, err := AppendArray(dst, t)
	return append(dst, '}'), err
}

func appendShape(dst []byte, shape []int64) []byte {
	dst = append(dst, '[')
	for i, n := range shape {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(dst, n, 10)
	}
	return append(dst, ']')
}

// AppendArray appends the data of t as a flat JSON array, as AppendResponse does.
func AppendArray(dst []byte, t backends.Tensor) ([]byte, error) {
	dst, err := appendData(append(dst, '['), t)
	return append(dst, ']'), err
}

// appendData appends the tensor's elements, row-major, with commas between them.
func appendData(dst []byte, t backends.Tensor) ([]byte, error) {
	switch t.Datatype {
	case backends.FP32:
		dst, n := appendFloat32s(dst, t.Data)
		return dst, allFinite(t, n)
	case backends.FP64:
		dst, n := appendFloat64s(dst, t.Data)
		return dst, allFinite(t, n)
	case backends.Bytes:
		return appendTexts(dst, t)
	case backends.Bool:
		for i, b := range t.Data {
			dst = appendComma(dst, i)
			dst = strconv.AppendBool(dst, b != 0)
		}
		return dst, nil
	case backends.FP16, backends.BF16:
		return dst, backends.Errorf(backends.ErrInvalid, "output %q is %v, which has no JSON form: ask for it with binary_data", t.Name, t.Datatype)
	}
	size := t.Datatype.Size()
	for i := 0; i+size <= len(t.Data); i += size {
		dst = appendComma(dst, i)
		dst = appendInt(dst, t.Datatype, t.Data[i:])
	}
	return dst, nil
}

func appendComma(dst []byte, i int) []byte {
	if i > 0 {
		return append(dst, ',')
	}
	return dst
}

// appendInt appends the first integer in data.
func appendInt(dst []byte, d backends.Datatype, data []byte) []byte {
	switch d {
	case backends.Uint8:
		return strconv.AppendUint(dst, uint64(data[0]), 10)
	case backends.Uint16:
		return strconv.AppendUint(dst, uint64(binary.LittleEndian.Uint16(data)), 10)
	case backends.Uint32:
		return strconv.AppendUint(dst, uint64(binary.LittleEndian.Uint32(data)), 10)
	case backends.Uint64:
		return strconv.AppendUint(dst, binary.LittleEndian.Uint64(data), 10)
	case backends.Int8:
		return strconv.AppendInt(dst, int64(int8(data[0])), 10)
	case backends.Int16:
		return strconv.AppendInt(dst, int64(int16(binary.LittleEndian.Uint16(data))), 10)
	case backends.Int32:
		return strconv.AppendInt(dst, int64(int32(binary.LittleEndian.Uint32(data))), 10)
	}
	return strconv.AppendInt(dst, int64(binary.LittleEndian.Uint64(data)), 10)
}

// allFinite refuses a tensor of which just n elements could be written.
func allFinite(t backends.Tensor, n int) error {
	if n == len(t.Data)/t.Datatype.Size() {
		return nil
	}
	return backends.Errorf(backends.ErrInvalid, "output %q holds NaN or an infinity at element %d, which JSON does not have: ask for it with binary_data", t.Name, n)
}

func appendTexts(dst []byte, t backends.Tensor) ([]byte, error) {
	i := 0
	for element := range backends.BytesElements(t.Data) {
		if !utf8.Valid(element) {
			return dst, backends.Errorf(backends.ErrInvalid, "output %q is not valid UTF-8 at element %d: ask for it with binary_data", t.Name, i)
		}
		dst = appendComma(dst, i)
		dst = appendQuoted(dst, element)
		i++
	}
	return dst, nil
}
