package onnx

import (
	"encoding/binary"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/thrumserve/thrum/backends"
)

// field is one field of a protobuf message. bytes shares the file's buffer.
type field struct {
	num   protowire.Number
	typ   protowire.Type
	n     uint64 // varint and fixed-width fields
	bytes []byte // length-delimited fields
}

// eachField calls visit for every field of a message.
func eachField(msg []byte, visit func(f field) error) error {
	for len(msg) > 0 {
		f, size, err := nextField(msg)
		if err != nil {
			return err
		}
		if err := visit(f); err != nil {
			return err
		}
		msg = msg[size:]
	}
	return nil
}

func nextField(msg []byte) (field, int, error) {
	num, typ, head := protowire.ConsumeTag(msg)
	if head < 0 {
		return field{}, 0, damaged("a field's tag is cut short or wrong")
	}
	f, body := field{num: num, typ: typ}, 0
	switch typ {
	case protowire.VarintType:
		f.n, body = protowire.ConsumeVarint(msg[head:])
	case protowire.Fixed32Type:
		var n uint32
		n, body = protowire.ConsumeFixed32(msg[head:])
		f.n = uint64(n)
	case protowire.Fixed64Type:
		f.n, body = protowire.ConsumeFixed64(msg[head:])
	case protowire.BytesType:
		f.bytes, body = protowire.ConsumeBytes(msg[head:])
	default:
		return field{}, 0, damaged("field %d has wire type %d, which ONNX does not use", num, typ)
	}
	if body < 0 {
		return field{}, 0, damaged("field %d is longer than what is left of its message", num)
	}
	return f, head + body, nil
}

func damaged(format string, args ...any) error {
	return backends.Errorf(backends.ErrInvalid, "the file is damaged or no ONNX model: "+format, args...)
}

func (f field) want(typ protowire.Type) error {
	if f.typ != typ {
		return damaged("field %d has wire type %d instead of %d", f.num, f.typ, typ)
	}
	return nil
}

func (f field) int(to *int64) error {
	*to = int64(f.n)
	return f.want(protowire.VarintType)
}

func (f field) float(to *float32) error {
	*to = math.Float32frombits(uint32(f.n))
	return f.want(protowire.Fixed32Type)
}

func (f field) text(to *string) error {
	if err := f.want(protowire.BytesType); err != nil {
		return err
	}
	if len(f.bytes) > maxName {
		return damaged("field %d is a name of %d bytes, at most %d", f.num, len(f.bytes), maxName)
	}
	if !utf8.Valid(f.bytes) {
		return damaged("field %d is a name that is not UTF-8", f.num)
	}
	*to = string(f.bytes)
	return nil
}

func (f field) texts(to *[]string) error {
	var s string
	err := f.text(&s)
	*to = append(*to, s)
	return err
}

// message decodes an embedded message.
func (f field) message(decode func(msg []byte) error) error {
	if err := f.want(protowire.BytesType); err != nil {
		return err
	}
	return decode(f.bytes)
}

// varints appends a repeated integer, packed or not, and refuses more than limit of them.
func (f field) varints(to *[]int64, limit int) error {
	if f.typ == protowire.VarintType {
		*to = append(*to, int64(f.n))
		return tooMany(f, len(*to), limit)
	}
	if err := f.want(protowire.BytesType); err != nil {
		return err
	}
	for packed := f.bytes; len(packed) > 0; {
		n, size := protowire.ConsumeVarint(packed)
		if size < 0 {
			return damaged("field %d holds a number that is cut short", f.num)
		}
		*to = append(*to, int64(n))
		if err := tooMany(f, len(*to), limit); err != nil {
			return err
		}
		packed = packed[size:]
	}
	return nil
}

func tooMany(f field, n, limit int) error {
	if n > limit {
		return damaged("field %d is repeated more than %d times", f.num, limit)
	}
	return nil
}

// fixed appends a repeated fixed-width number, packed or not, as little-endian bytes of size
// size each. One packed field, the usual form, is not copied.
func (f field) fixed(to *[]byte, size int) error {
	switch {
	case f.typ == protowire.Fixed32Type && size == 4:
		*to = binary.LittleEndian.AppendUint32(*to, uint32(f.n))
	case f.typ == protowire.Fixed64Type && size == 8:
		*to = binary.LittleEndian.AppendUint64(*to, f.n)
	case f.typ == protowire.BytesType && len(f.bytes)%size == 0:
		if len(*to) == 0 {
			*to = f.bytes[:len(f.bytes):len(f.bytes)]
		} else {
			*to = append(*to, f.bytes...)
		}
	default:
		return damaged("field %d does not hold numbers of %d bytes", f.num, size)
	}
	return nil
}
