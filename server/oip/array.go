package oip

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strconv"

	"github.com/thrumserve/thrum/backends"
)

// appendElement appends the element at text[i] in the layout of backends.Tensor and returns
// the index after it.
type appendElement func(out, text []byte, i int) ([]byte, int, error)

// elementOf returns how an element of datatype d is read from JSON, or nil if JSON has no
// agreed form for it.
func elementOf(d backends.Datatype) appendElement {
	switch d {
	case backends.FP32:
		return appendFP32
	case backends.FP64:
		return appendFP64
	case backends.Bool:
		return appendBool
	case backends.Bytes:
		return appendText
	case backends.FP16, backends.BF16:
		return nil
	}
	return appendInteger(d)
}

// appendText appends the string at text[i] with its length before it.
func appendText(out, text []byte, i int) ([]byte, int, error) {
	start := len(out)
	out, next, err := appendUnquoted(append(out, 0, 0, 0, 0), text, i)
	if err != nil {
		return out, i, err
	}
	size := len(out) - start - 4
	if uint64(size) > math.MaxUint32 {
		return out, i, errRange
	}
	binary.LittleEndian.PutUint32(out[start:], uint32(size))
	return out, next, nil
}

// array reads the data of one tensor, nested like its shape or flat.
type array struct {
	*cursor
	tensor  *backends.Tensor
	element appendElement
	read    int64 // elements so far
}

// ReadArray reads the JSON array at the start of text into t.Data, whose memory it uses again where
// that is enough, as Decode reads the data of an input. t has its datatype and shape already. An array
// that is not of that shape, or whose elements are not of that datatype, is an ErrInvalid.
func ReadArray(t *backends.Tensor, text []byte) error { return readArray(&cursor{text: text}, t) }

// readArray reads the value at the cursor into the tensor's data. The tensor has its datatype
// and shape already.
func readArray(c *cursor, t *backends.Tensor) error {
	a := &array{cursor: c, tensor: t, element: elementOf(t.Datatype)}
	if a.element == nil {
		return a.invalid("%v has no JSON form: send it as binary data", t.Datatype)
	}
	// Each element takes a character and, but for the last, a comma, so that memory is set aside
	// for no more elements than the text can hold, whatever the shape claims.
	n := t.Elements()
	t.Data = slices.Grow(t.Data[:0], int(min(n, int64(len(c.text)-c.at)/2+1)*room(t.Datatype)))
	if len(t.Shape) == 0 && c.peek() != '[' {
		return a.scalar()
	}
	start := c.at
	if len(t.Shape) > 1 && c.take('[') && c.peek() == '[' {
		c.at = start
		return a.nested(0)
	}
	c.at = start
	return a.row(n)
}

// room returns the bytes to set aside for an element.
func room(d backends.Datatype) int64 {
	if d == backends.Bytes {
		return 8 // a prefix and a short text; append makes more
	}
	return int64(d.Size())
}

func (a *array) scalar() error {
	i := skipSpace(a.text, a.at)
	out, next, err := a.element(a.tensor.Data, a.text, i)
	if err != nil {
		return a.refuse(i, err)
	}
	a.tensor.Data, a.at = out, next
	return nil
}

// nested reads an array of the shape's dimensions from dim on.
func (a *array) nested(dim int) error {
	shape := a.tensor.Shape
	if dim == len(shape)-1 {
		return a.row(shape[dim])
	}
	if !a.take('[') {
		return a.malformed("a '[' of " + strconv.Quote(a.tensor.Name) + "'s data")
	}
	for k := range shape[dim] {
		if k > 0 && a.take(',') || k == 0 && a.peek() != ']' {
			if err := a.nested(dim + 1); err != nil {
				return err
			}
			continue
		}
		if a.peek() != ']' {
			return a.malformed("a ',' or ']'")
		}
		return a.invalid("%d entries given in dimension %d before element %d, shape %v expects %d", k, dim, a.read, shape, shape[dim])
	}
	if a.peek() == ',' {
		return a.invalid("more than %d entries given in dimension %d at element %d, shape %v expects %d", shape[dim], dim, a.read, shape, shape[dim])
	}
	if !a.take(']') {
		return a.malformed("a ',' or ']'")
	}
	return nil
}

// row reads an array of n elements.
func (a *array) row(n int64) error {
	if !a.take('[') {
		return a.malformed("a '[' of " + strconv.Quote(a.tensor.Name) + "'s data")
	}
	if a.take(']') {
		return a.counted(0, n)
	}
	text, i, out := a.text, a.at, a.tensor.Data
	for k := int64(0); k < n; k++ {
		if a.tensor.Datatype == backends.FP32 {
			// The last element has no comma after it, and is not for readPlain.
			room := out[len(out):min(int64(cap(out)), int64(len(out))+4*(n-k-1))]
			filled := 0
			filled, i = readPlain(room, text, i)
			out, k = out[:len(out)+filled], k+int64(filled/4)
		}
		i = skipSpace(text, i)
		var err error
		start := i
		if out, i, err = a.element(out, text, i); err != nil {
			a.read += k
			return a.refuse(start, err)
		}
		i = skipSpace(text, i)
		if i < len(text) && text[i] == ',' && k+1 < n {
			i++
			continue
		}
		a.at = i
		if i < len(text) && text[i] == ']' {
			a.at++
			a.tensor.Data = out
			return a.counted(k+1, n)
		}
		if i < len(text) && text[i] == ',' {
			break
		}
		return a.malformed("a ',' or ']'")
	}
	return a.invalid("more than %d elements given from element %d on, shape %v expects %d", n, a.read, a.tensor.Shape, n)
}

// counted accepts a row of n elements.
func (a *array) counted(given, n int64) error {
	if given != n {
		return a.invalid("%d elements given from element %d on, shape %v expects %d", given, a.read, a.tensor.Shape, n)
	}
	a.read += n
	return nil
}

// refuse reports that the element at text[i] cannot be read.
func (a *array) refuse(i int, why error) error {
	if a.at = i; i == len(a.text) {
		return a.malformed("an element")
	}
	token := a.token(i)
	switch token {
	case "NaN", "Infinity", "-Infinity", "nan", "inf", "-inf", "Inf", "-Inf":
		return a.invalid("element %d is %s, which JSON does not have: send it as binary data", a.read, token)
	}
	if a.text[i] == '[' {
		return a.invalid("element %d is an array: the nesting does not match shape %v", a.read, a.tensor.Shape)
	}
	if errors.Is(why, errRange) {
		return a.invalid("element %d is %s, out of the range of %v%s", a.read, token, a.tensor.Datatype, rangeOf(a.tensor.Datatype))
	}
	return a.invalid("element %d is %s, %w (datatype %v)", a.read, token, why, a.tensor.Datatype)
}

func (a *array) invalid(format string, args ...any) error {
	return backends.Errorf(backends.ErrInvalid, "input %q: "+format, append([]any{a.tensor.Name}, args...)...)
}

// rangeOf says what integers datatype d holds, for an error.
func rangeOf(d backends.Datatype) string {
	switch d {
	case backends.Int8:
		return " (-128 to 127)"
	case backends.Int16:
		return " (-32768 to 32767)"
	case backends.Int32:
		return " (-2147483648 to 2147483647)"
	case backends.Int64:
		return " (-9223372036854775808 to 9223372036854775807)"
	case backends.Uint8:
		return " (0 to 255)"
	case backends.Uint16:
		return " (0 to 65535)"
	case backends.Uint32:
		return " (0 to 4294967295)"
	case backends.Uint64:
		return " (0 to 18446744073709551615)"
	}
	return ""
}
