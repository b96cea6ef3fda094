package oip

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/thrumserve/thrum/backends"
)

// value is the value of a parameter.
type value struct {
	kind kind
	text string // of a string: its characters; of a number: its JSON text
	on   bool   // of a boolean
}

type kind byte

const (
	absent kind = iota // a null
	text
	number
	boolean
)

// parameters calls each for every parameter of the object that comes next that is not null.
func (c *cursor) parameters(owner string, each func(name string, v value) error) error {
	if c.null() {
		return nil
	}
	return c.object(func(key []byte) error {
		if len(key) > maxName {
			return backends.Errorf(backends.ErrInvalid, "%s: a parameter's name is longer than %d bytes", owner, maxName)
		}
		name := string(key)
		v, err := c.value()
		if err != nil {
			return backends.Errorf(backends.ErrInvalid, "%s: parameter %q: %w", owner, name, err)
		}
		if v.kind == absent {
			return nil
		}
		return each(name, v)
	})
}

// value reads a scalar.
func (c *cursor) value() (value, error) {
	switch ch := c.peek(); {
	case ch == '"':
		s, err := c.str()
		return value{kind: text, text: string(s)}, err
	case ch == '-' || isDigit(ch):
		start := c.at
		if err := c.skip(0); err != nil {
			return value{}, err
		}
		return value{kind: number, text: string(c.text[start:c.at])}, nil
	case c.word("true"):
		return value{kind: boolean, on: true}, nil
	case c.word("false"):
		return value{kind: boolean}, nil
	case c.null():
		return value{}, nil
	}
	return value{}, c.malformed("a string, a number or a boolean")
}

// canonical returns the JSON text that equal values share.
func (v value) canonical() (string, error) {
	switch v.kind {
	case text:
		return string(appendQuoted(nil, v.text)), nil
	case boolean:
		return strconv.FormatBool(v.on), nil
	}
	magnitude, negative, _, err := scanInteger([]byte(v.text), 0)
	if err == nil && magnitude == 0 {
		return "0", nil
	}
	if err == nil && negative {
		return "-" + strconv.FormatUint(magnitude, 10), nil
	}
	if err == nil {
		return strconv.FormatUint(magnitude, 10), nil
	}
	f, err := strconv.ParseFloat(v.text, 64)
	if err != nil {
		return "", backends.Errorf(backends.ErrInvalid, "%s is out of the range of a double", v.text)
	}
	canonical, _ := appendFloat64(nil, f)
	return string(canonical), nil
}

// integer returns the value of a number without a fraction that is at least 0.
func (v value) integer() (uint64, bool) {
	if v.kind != number {
		return 0, false
	}
	magnitude, negative, _, err := scanInteger([]byte(v.text), 0)
	return magnitude, err == nil && (!negative || magnitude == 0)
}

// size returns the value of a parameter that counts bytes.
func (v value) size() (int, bool) {
	n, ok := v.integer()
	return int(n), ok && n <= math.MaxInt
}

// parameter takes one parameter of the request: those that the protocol gives a meaning are
// consumed, the rest is what a model may read.
func (d *decoder) parameter(name string, v value) error {
	switch name {
	case "binary_data_output":
		if v.kind != boolean {
			return backends.Errorf(backends.ErrInvalid, "parameter binary_data_output must be true or false")
		}
		d.binaryAll = v.on
	case "timeout":
		us, ok := v.integer()
		if !ok {
			return backends.Errorf(backends.ErrInvalid, "parameter timeout must be a number of microseconds, 0 or more")
		}
		d.req.Timeout = time.Duration(min(us, math.MaxInt64/1000)) * time.Microsecond
	case "priority":
		// One level is all there is, as in a server whose model configures none: any priority is
		// the default one.
		if _, ok := v.integer(); !ok {
			return backends.Errorf(backends.ErrInvalid, "parameter priority must be an integer, 0 or more")
		}
	case "sequence_id", "sequence_start", "sequence_end":
		if v != (value{kind: text}) && v != (value{kind: number, text: "0"}) && v != (value{kind: boolean}) {
			return backends.Errorf(backends.ErrUnsupported, "parameter %s: sequences are not supported", name)
		}
	default:
		return d.modelParameter(name, v)
	}
	return nil
}

// maxParameters bounds the parameters that a request brings for the model.
const maxParameters = 64

func (d *decoder) modelParameter(name string, v value) error {
	if len(d.req.Batch.Parameters) == maxParameters {
		return backends.Errorf(backends.ErrInvalid, "more than %d parameters are given", maxParameters)
	}
	if strings.HasPrefix(name, "triton_") {
		return backends.Errorf(backends.ErrUnsupported, "parameter %q: names that begin with triton_ are reserved", name)
	}
	canonical, err := v.canonical()
	if err != nil {
		return err
	}
	d.req.Batch.Parameters = append(d.req.Batch.Parameters, backends.Parameter{Name: name, Value: canonical})
	return nil
}

// sortParameters puts the parameters in order and refuses a name that occurs twice.
func sortParameters(all []backends.Parameter) error {
	slices.SortFunc(all, func(a, b backends.Parameter) int { return strings.Compare(a.Name, b.Name) })
	for i := 1; i < len(all); i++ {
		if all[i].Name == all[i-1].Name {
			return backends.Errorf(backends.ErrInvalid, "parameter %q is given twice", all[i].Name)
		}
	}
	return nil
}
