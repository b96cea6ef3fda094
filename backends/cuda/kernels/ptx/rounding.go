package ptx

import (
	"math"
	"strings"
)

// rounding is how a result of single precision is made of an exact one.
type rounding int

const (
	nearest rounding = iota
	down
	towardZero
)

// fused returns a*b+c, rounded once. The product of two numbers of single precision is exact in double.
func fused(a, b, c uint64, r rounding) float32 {
	return sum(float64(single(a))*float64(single(b)), float64(single(c)), r)
}

// sum returns a+b, rounded once: to odd in double precision, where the last bit keeps whether anything
// is lost, and from there as it should be. That comes out as one rounding, since double precision has
// more than two bits more than twice as many.
func sum(a, b float64, r rounding) float32 {
	s := a + b
	if s == 0 && r == down && math.Signbit(a) != math.Signbit(b) {
		return float32(math.Copysign(0, -1))
	}
	if s-s != 0 { // infinite, or no number
		return float32(s)
	}
	t := s - a
	lost := (a - (s - t)) + (b - t)
	if v := math.Float64bits(s); lost != 0 && v&1 == 0 {
		if (lost > 0) == (s > 0) {
			v++
		} else {
			v--
		}
		s = math.Float64frombits(v)
	}
	f := float32(s)
	switch {
	case r == down && float64(f) > s:
		return math.Nextafter32(f, float32(math.Inf(-1)))
	case r == towardZero && math.Abs(float64(f)) > math.Abs(s):
		return math.Nextafter32(f, 0)
	}
	return f
}

// flush makes subnormal numbers zeros.
func flush(v float32) float32 {
	if bits := math.Float32bits(v); bits&0x7f800000 == 0 {
		return math.Float32frombits(bits & sign)
	}
	return v
}

// rough returns what an approximate function may return for x: v, or what is a unit of the last place
// beside it.
func rough(x float32, v float64) float32 {
	f := float32(v)
	bits := math.Float32bits(f)
	if float64(f) == v || f != f || bits&0x7f800000 == 0 || bits&0x7f800000 == 0x7f800000 {
		return f
	}
	draw := math.Float32bits(x) * 2654435761 >> 16
	if moved := bits + draw%3 - 1; moved&0x7f800000 != 0x7f800000 {
		return math.Float32frombits(moved)
	}
	return f
}

// half rounds to the nearest of half precision, of two that are as near to the even one.
func half(v float32) uint64 {
	bits := math.Float32bits(v)
	negative := uint64(bits>>16) & 0x8000
	exponent, a := int(bits>>23&0xff), math.Abs(float64(v))
	switch {
	case v != v:
		return 0x7fff
	case a >= 65520:
		return negative | 0x7c00
	case exponent < 127-14:
		return negative | uint64(math.RoundToEven(a*(1<<24)))
	}
	// 11 bits of significance, of which the first is not kept: what it carries goes to the exponent.
	significant := uint64(math.RoundToEven(math.Ldexp(a, 10-(exponent-127))))
	return negative | uint64(exponent-127+14)<<10 + significant
}

func fromHalf(h uint64) float32 {
	exponent, significant := int(h>>10&31), float64(h&0x3ff)
	v := math.Ldexp(significant, -24)
	switch {
	case exponent == 31 && significant != 0:
		return float32(math.NaN())
	case exponent == 31:
		v = math.Inf(1)
	case exponent > 0:
		v = math.Ldexp(1024+significant, exponent-25)
	}
	if h&0x8000 != 0 {
		v = -v
	}
	return float32(v)
}

// brain rounds to the nearest of bf16, the upper half of single precision.
func brain(v float32) uint64 {
	if v != v {
		return 0x7fff
	}
	u := uint64(math.Float32bits(v))
	return (u + 0x7fff + u>>16&1) >> 16
}

// tensor rounds to the nearest of tf32, of two that are as near to that away from zero.
func tensor(v float32) uint64 {
	if v-v != 0 {
		return ofSingle(v)
	}
	return uint64(math.Float32bits(v)+0x1000) &^ 0x1fff
}

var integral = map[string]func(float64) float64{"rni": math.RoundToEven, "rzi": math.Trunc, "rmi": math.Floor, "rpi": math.Ceil}

// conversion returns what cvt computes: modifiers, the type it is made, the type that it is.
func conversion(op []string) (pure, []int, error) {
	if len(op) < 2 {
		return nil, nil, errUnknown
	}
	to, err := typeOf(op[len(op)-2])
	if err != nil {
		return nil, nil, err
	}
	from, err := typeOf(op[len(op)-1])
	if err != nil {
		return nil, nil, err
	}
	f := converted(strings.Join(op[:len(op)-2], "."), to, from)
	if f == nil {
		return nil, nil, errUnknown
	}
	source := max(from.bits, 16)
	if from.letter == 's' || from.letter == 'u' {
		source = -source // of a wider register the low bits count
	}
	return f, []int{max(to.bits, 16), source}, nil
}

func converted(modifier string, to, from kindOf) pure {
	whole := func(t kindOf) bool { return t.letter == 's' || t.letter == 'u' }
	f32, f64, f16 := kindOf{'f', 32}, kindOf{'f', 64}, kindOf{'f', 16}
	switch {
	case whole(to) && whole(from) && modifier == "":
		// A register may be wider than the type: it is extended.
		register := kindOf{to.letter, max(to.bits, 16)}
		return func(a, _, _ uint64) uint64 { return register.cut(uint64(to.signed(uint64(from.signed(a))))) }
	case to == f32 && whole(from) && modifier == "rn":
		if from == (kindOf{'u', 64}) {
			return nil
		}
		return func(a, _, _ uint64) uint64 { return ofSingle(float32(from.signed(a))) }
	case to == f64 && from == (kindOf{'s', 64}) && modifier == "rn":
		return func(a, _, _ uint64) uint64 { return math.Float64bits(float64(int64(a))) }
	case to == f32 && from == f64 && modifier == "rn":
		return func(a, _, _ uint64) uint64 { return ofSingle(float32(math.Float64frombits(a))) }
	case to == f16 && from == f32 && modifier == "rn":
		return func(a, _, _ uint64) uint64 { return half(single(a)) }
	case to.letter == 'B' && from == f32 && modifier == "rn":
		return func(a, _, _ uint64) uint64 { return brain(single(a)) }
	case to.letter == 'T' && from == f32 && modifier == "rna":
		return func(a, _, _ uint64) uint64 { return tensor(single(a)) }
	case to == f32 && from == f16 && modifier == "":
		return func(a, _, _ uint64) uint64 { return ofSingle(fromHalf(a)) }
	case to == f32 && from == f32 && modifier == "sat":
		return func(a, _, _ uint64) uint64 {
			if v := single(a); v > 0 { // neither is NaN
				return ofSingle(min(v, 1))
			}
			return 0
		}
	}
	f := integral[modifier]
	if f == nil || from != f32 {
		return nil
	}
	if to == f32 {
		return func(a, _, _ uint64) uint64 { return ofSingle(float32(f(float64(single(a))))) }
	}
	if to.letter != 's' {
		return nil
	}
	return func(a, _, _ uint64) uint64 { return to.saturated(f(float64(single(a)))) }
}

// saturated returns an integral number as a signed integer. NaN becomes 0, but the least number of 64 bits.
func (t kindOf) saturated(v float64) uint64 {
	limit := math.Ldexp(1, t.bits-1)
	switch {
	case v != v && t.bits < 64:
		return 0
	case v != v, v < -limit:
		return 1 << (t.bits - 1)
	case v >= limit:
		return 1<<(t.bits-1) - 1
	}
	return t.cut(uint64(int64(v)))
}
