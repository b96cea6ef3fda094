package oip

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

// readData reads a tensor's JSON data, which are valid JSON, into t, whose datatype and shape are
// known: flat or nested like the shape. null is NaN, as which some servers write it.
func readData(text json.RawMessage, t *Tensor) error {
	if t.Datatype.Size() == 0 && t.Datatype != Bytes {
		return t.Check()
	}
	r := dataReader{text: text, tensor: t}
	return r.read()
}

type dataReader struct {
	text   []byte
	at     int
	count  int64
	tensor *Tensor
}

func (r *dataReader) invalid(format string, args ...any) error {
	return fmt.Errorf("tensor %q: "+format, append([]any{r.tensor.Name}, args...)...)
}

func (r *dataReader) read() error {
	if r.peek() != '[' {
		return r.invalid("data must be an array")
	}
	nested := r.nested()
	if err := r.array(0, nested); err != nil {
		return err
	}
	if want := Elements(r.tensor.Shape); r.count != want {
		return r.invalid("%d elements do not fit shape %v", r.count, r.tensor.Shape)
	}
	return nil
}

// nested reports an array of arrays.
func (r *dataReader) nested() bool {
	ahead := dataReader{text: r.text, at: r.at + 1}
	return ahead.peek() == '['
}

// array reads the array at the cursor, which is that of a dimension if the data are nested.
func (r *dataReader) array(dimension int, nested bool) error {
	shape := r.tensor.Shape
	if nested && dimension == len(shape) {
		return r.invalid("data are nested deeper than shape %v", shape)
	}
	r.at++
	n := int64(0)
	for ; r.peek() != ']'; n++ {
		if r.peek() == ',' {
			r.at++
		}
		if err := r.item(dimension, nested); err != nil {
			return err
		}
	}
	r.at++
	if nested && n != shape[dimension] {
		return r.invalid("%d entries in dimension %d of shape %v", n, dimension, shape)
	}
	return nil
}

func (r *dataReader) item(dimension int, nested bool) error {
	inner := r.peek() == '['
	if last := dimension == len(r.tensor.Shape)-1; inner != (nested && !last) {
		return r.invalid("data are neither flat nor nested like shape %v", r.tensor.Shape)
	}
	if inner {
		return r.array(dimension+1, nested)
	}
	token := r.token()
	r.count++
	data, ok := appendParsed(r.tensor.Data, r.tensor.Datatype, token)
	if !ok {
		return r.invalid("element %d is %.40s, not %s", r.count-1, token, r.tensor.Datatype)
	}
	r.tensor.Data = data
	return nil
}

// peek returns the next byte that is no space, 0 at the end.
func (r *dataReader) peek() byte {
	for ; r.at < len(r.text); r.at++ {
		switch ch := r.text[r.at]; ch {
		case ' ', '\t', '\n', '\r':
		default:
			return ch
		}
	}
	return 0
}

// token returns the text of the value at the cursor, which is no array, and passes it. Of an
// object it is the first part, which no datatype takes.
func (r *dataReader) token() []byte {
	r.peek()
	start := r.at
	if r.text[r.at] == '"' {
		for r.at++; r.text[r.at] != '"'; r.at++ {
			if r.text[r.at] == '\\' {
				r.at++
			}
		}
		r.at++
		return r.text[start:r.at]
	}
	for r.at < len(r.text) && !isEnd(r.text[r.at]) {
		r.at++
	}
	return r.text[start:r.at]
}

func isEnd(ch byte) bool {
	return ch == ',' || ch == ']' || ch == ' ' || ch == '\t' || ch == '\n' || ch == '\r'
}

// appendParsed appends the element that a JSON value stands for.
func appendParsed(data []byte, d Datatype, token []byte) ([]byte, bool) {
	switch {
	case d == Bytes:
		var text string
		if err := json.Unmarshal(token, &text); err != nil || token[0] != '"' {
			return data, false
		}
		return AppendBytesElement(data, []byte(text)), true
	case d == Bool:
		i := map[string]byte{"false": 0, "0": 0, "true": 1, "1": 1}
		v, ok := i[string(token)]
		return append(data, v), ok
	case d.Float():
		return appendParsedFloat(data, d, string(token))
	}
	v, ok := parseInteger(d, string(token))
	return AppendInteger(data, d, v), ok
}

func appendParsedFloat(data []byte, d Datatype, token string) ([]byte, bool) {
	if token == "null" {
		return AppendFloat(data, d, math.NaN()), true
	}
	bits := 32
	if d == FP64 {
		bits = 64
	}
	v, err := strconv.ParseFloat(token, bits)
	return AppendFloat(data, d, v), err == nil
}

// parseInteger also takes 2.0 and 2e3, as far as a float64 tells integers apart.
func parseInteger(d Datatype, token string) (uint64, bool) {
	bits := 8 * d.Size()
	if d.Signed() {
		v, err := strconv.ParseInt(token, 10, bits)
		if err == nil {
			return uint64(v), true
		}
	} else if v, err := strconv.ParseUint(token, 10, bits); err == nil {
		return v, true
	}
	f, err := strconv.ParseFloat(token, 64)
	least, most := 0.0, math.Ldexp(1, bits)-1
	if d.Signed() {
		least, most = -math.Ldexp(1, bits-1), math.Ldexp(1, bits-1)-1
	}
	if err != nil || f != math.Trunc(f) || f < least || f > most || math.Abs(f) > 1<<53 {
		return 0, false
	}
	if f < 0 {
		return uint64(int64(f)), true
	}
	return uint64(f), true
}
