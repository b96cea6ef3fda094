package ptx

import (
	"cmp"
	"math"
	"math/bits"
	"strings"
)

func single(v uint64) float32 { return math.Float32frombits(uint32(v)) }

// ofSingle returns the bits of a result. PTX has one NaN.
func ofSingle(v float32) uint64 {
	if v != v {
		return 0x7fffffff
	}
	return uint64(math.Float32bits(v))
}

func truth(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// signed returns a value of a type as an integer, which is not negative unless the type is signed.
func (t kindOf) signed(v uint64) int64 {
	v = t.cut(v)
	if t.letter == 's' {
		return int64(v<<(64-t.bits)) >> (64 - t.bits)
	}
	return int64(v)
}

// compare orders integers of a type.
func (t kindOf) compare(a, b uint64) int {
	if t.letter == 's' {
		return cmp.Compare(t.signed(a), t.signed(b))
	}
	return cmp.Compare(t.cut(a), t.cut(b))
}

// same returns widths of n operands.
func same(width, n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = width
	}
	return all
}

// lookup returns what an operation computes, and how wide its operands are; 0 is any.
func lookup(op []string) (pure, []int, error) {
	t, err := typeOf(op[len(op)-1])
	if err != nil {
		return nil, nil, err
	}
	name := strings.Join(op[:len(op)-1], ".")
	w := t.bits
	switch op[0] {
	case "setp":
		if f := comparison(op[1], t); f != nil && len(op) == 3 {
			return f, []int{1, w, w}, nil
		}
	case "cvt":
		return conversion(op[1:])
	case "cvta":
		if f := generic(op); f != nil {
			return f, same(64, 2), nil
		}
	case "selp":
		return func(a, b, c uint64) uint64 {
			if c != 0 {
				return t.cut(a)
			}
			return t.cut(b)
		}, []int{w, w, w, 1}, nil
	case "mov":
		if t.letter == 'p' {
			return func(a, _, _ uint64) uint64 { return truth(a != 0) }, same(1, 2), nil
		}
		return func(a, _, _ uint64) uint64 { return t.cut(a) }, same(w, 2), nil
	}
	var f pure
	var widths []int
	switch t.letter {
	case 'p':
		f, widths = logic(name, t)
	case 'b':
		f, widths = logic(name, t)
	case 'u', 's':
		f, widths = integer(name, t)
	case 'f':
		f, widths = floating(name, t)
	}
	if f == nil {
		return nil, nil, errUnknown
	}
	return f, widths, nil
}

func comparison(name string, t kindOf) pure {
	order := map[string]func(int) bool{"eq": func(c int) bool { return c == 0 }, "ne": func(c int) bool { return c != 0 },
		"lt": func(c int) bool { return c < 0 }, "le": func(c int) bool { return c <= 0 },
		"gt": func(c int) bool { return c > 0 }, "ge": func(c int) bool { return c >= 0 }}
	if t.letter != 'f' {
		f := order[name]
		if f == nil || t.letter == 'b' && name != "eq" && name != "ne" {
			return nil
		}
		return func(a, b, _ uint64) uint64 { return truth(f(t.compare(a, b))) }
	}
	if t.bits != 32 {
		return nil
	}
	switch name {
	case "num":
		return func(a, b, _ uint64) uint64 { x, y := single(a), single(b); return truth(x == x && y == y) }
	case "nan":
		return func(a, b, _ uint64) uint64 { x, y := single(a), single(b); return truth(x != x || y != y) }
	}
	base, unordered := strings.CutSuffix(name, "u")
	f := order[base]
	if f == nil {
		return nil
	}
	return func(a, b, _ uint64) uint64 {
		x, y := single(a), single(b)
		if x != x || y != y {
			return truth(unordered)
		}
		c := 0
		if x < y {
			c = -1
		} else if x > y {
			c = 1
		}
		return truth(f(c))
	}
}

// generic returns what makes a generic address of one, or the other way round.
func generic(op []string) pure {
	if len(op) < 3 {
		return nil
	}
	base := map[string]uint64{"global": 0, "local": localBase}
	if at, ok := base[op[1]]; ok && is(op[2:], "u64") {
		return func(a, _, _ uint64) uint64 { return a + at }
	}
	if at, ok := base[op[2]]; ok && op[1] == "to" && is(op[3:], "u64") {
		return func(a, _, _ uint64) uint64 { return a - at }
	}
	return nil
}

func logic(name string, t kindOf) (pure, []int) {
	w := t.bits
	switch name {
	case "and":
		return func(a, b, _ uint64) uint64 { return t.cut(a & b) }, same(w, 3)
	case "or":
		return func(a, b, _ uint64) uint64 { return t.cut(a | b) }, same(w, 3)
	case "xor":
		return func(a, b, _ uint64) uint64 { return t.cut(a ^ b) }, same(w, 3)
	case "not":
		return func(a, _, _ uint64) uint64 { return t.cut(^a) }, same(w, 2)
	case "shl":
		return func(a, b, _ uint64) uint64 { return t.cut(a << min(b&0xffffffff, 64)) }, []int{w, w, 32}
	case "prmt":
		return permute, same(32, 4)
	}
	return nil, nil
}

// permute picks four bytes of eight, or their signs.
func permute(a, b, c uint64) uint64 {
	all, d := a&0xffffffff|b<<32, uint64(0)
	for i := range 4 {
		pick := c >> (4 * i)
		v := all >> (8 * (pick & 7)) & 0xff
		if pick&8 != 0 {
			v = -(v >> 7) & 0xff
		}
		d |= v << (8 * i)
	}
	return d
}

func integer(name string, t kindOf) (pure, []int) {
	w := t.bits
	wide := kindOf{t.letter, 2 * w}
	switch name {
	case "add":
		return func(a, b, _ uint64) uint64 { return t.cut(a + b) }, same(w, 3)
	case "sub":
		return func(a, b, _ uint64) uint64 { return t.cut(a - b) }, same(w, 3)
	case "mul.lo":
		return func(a, b, _ uint64) uint64 { return t.cut(a * b) }, same(w, 3)
	case "mad.lo":
		return func(a, b, c uint64) uint64 { return t.cut(a*b + c) }, same(w, 4)
	case "mul.wide":
		return func(a, b, _ uint64) uint64 { return wide.cut(uint64(t.signed(a) * t.signed(b))) }, []int{2 * w, w, w}
	case "mad.wide":
		return func(a, b, c uint64) uint64 { return wide.cut(uint64(t.signed(a)*t.signed(b)) + c) }, []int{2 * w, w, w, 2 * w}
	case "div":
		return func(a, b, _ uint64) uint64 { return t.divide(a, b, false) }, same(w, 3)
	case "rem":
		return func(a, b, _ uint64) uint64 { return t.divide(a, b, true) }, same(w, 3)
	case "neg":
		return func(a, _, _ uint64) uint64 { return t.cut(-a) }, same(w, 2)
	case "abs":
		return func(a, _, _ uint64) uint64 {
			if t.signed(a) < 0 {
				a = -a
			}
			return t.cut(a)
		}, same(w, 2)
	case "min":
		return func(a, b, _ uint64) uint64 {
			if t.compare(a, b) < 0 {
				return t.cut(a)
			}
			return t.cut(b)
		}, same(w, 3)
	case "max":
		return func(a, b, _ uint64) uint64 {
			if t.compare(a, b) > 0 {
				return t.cut(a)
			}
			return t.cut(b)
		}, same(w, 3)
	case "shr":
		if t.letter == 's' {
			return func(a, b, _ uint64) uint64 { return t.cut(uint64(t.signed(a) >> min(b&0xffffffff, 63))) }, []int{w, w, 32}
		}
		return func(a, b, _ uint64) uint64 { return t.cut(a) >> min(b&0xffffffff, 64) }, []int{w, w, 32}
	}
	return nil, nil
}

// divide returns a quotient or a remainder. Of a division by zero PTX says nothing: it is all ones.
func (t kindOf) divide(a, b uint64, remainder bool) uint64 {
	if t.cut(b) == 0 {
		return t.cut(math.MaxUint64)
	}
	if t.letter == 's' {
		x, y := t.signed(a), t.signed(b)
		if y == -1 {
			if remainder {
				return 0
			}
			return t.cut(uint64(-x))
		}
		if remainder {
			return t.cut(uint64(x % y))
		}
		return t.cut(uint64(x / y))
	}
	q, r := bits.Div64(0, t.cut(a), t.cut(b))
	if remainder {
		return r
	}
	return q
}

// one and two make instructions of functions of single precision.
func one(f func(float32) float32) (pure, []int) {
	return func(a, _, _ uint64) uint64 { return ofSingle(f(single(a))) }, same(32, 2)
}

func two(f func(a, b float32) float32) (pure, []int) {
	return func(a, b, _ uint64) uint64 { return ofSingle(f(single(a), single(b))) }, same(32, 3)
}

const sign = 1 << 31

func floating(name string, t kindOf) (pure, []int) {
	if t.bits == 64 {
		if name == "mul" {
			return func(a, b, _ uint64) uint64 {
				return math.Float64bits(math.Float64frombits(a) * math.Float64frombits(b))
			}, same(64, 3)
		}
		return nil, nil
	}
	if t.bits != 32 {
		return nil, nil
	}
	switch name {
	case "add", "add.rn":
		return two(func(a, b float32) float32 { return a + b })
	case "add.rz":
		return two(func(a, b float32) float32 { return sum(float64(a), float64(b), towardZero) })
	case "sub":
		return two(func(a, b float32) float32 { return a - b })
	case "mul", "mul.rn":
		return two(func(a, b float32) float32 { return a * b })
	case "fma.rn":
		return func(a, b, c uint64) uint64 { return ofSingle(fused(a, b, c, nearest)) }, same(32, 4)
	case "fma.rm":
		return func(a, b, c uint64) uint64 { return ofSingle(fused(a, b, c, down)) }, same(32, 4)
	case "div.rn":
		return two(func(a, b float32) float32 { return a / b })
	case "rcp.rn":
		return one(func(a float32) float32 { return 1 / a })
	case "sqrt.rn":
		return one(func(a float32) float32 { return float32(math.Sqrt(float64(a))) })
	case "min":
		return two(func(a, b float32) float32 { return least(a, b, false) })
	case "max":
		return two(func(a, b float32) float32 { return least(a, b, true) })
	case "neg":
		return func(a, _, _ uint64) uint64 { return t.cut(a ^ sign) }, same(32, 2)
	case "abs":
		return func(a, _, _ uint64) uint64 { return t.cut(a &^ sign) }, same(32, 2)
	case "copysign":
		return func(a, b, _ uint64) uint64 { return t.cut(a&sign | b&^sign) }, same(32, 3)
	case "ex2.approx":
		return one(func(a float32) float32 { return rough(a, math.Exp2(float64(a))) })
	case "ex2.approx.ftz":
		return one(func(a float32) float32 { a = flush(a); return flush(rough(a, math.Exp2(float64(a)))) })
	case "rcp.approx.ftz":
		return one(func(a float32) float32 { a = flush(a); return flush(rough(a, 1/float64(a))) })
	case "rsqrt.approx.ftz":
		return one(func(a float32) float32 { a = flush(a); return flush(rough(a, 1/math.Sqrt(float64(a)))) })
	}
	return nil, nil
}

// least returns the lesser or the larger of two numbers: that which is a number where one is none, and
// -0 before +0.
func least(a, b float32, largest bool) float32 {
	switch {
	case a != a:
		return b
	case b != b:
		return a
	case a == b && math.Signbit(float64(a)) == largest:
		return b
	case a != b && (a > b) != largest:
		return b
	}
	return a
}
