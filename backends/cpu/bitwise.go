package cpu

import (
	"unsafe"

	"github.com/thrumserve/thrum/backends"
)

// buildBitwise builds the operators on the bits of integers.
func buildBitwise(n *node) (kernel, error) {
	switch d := n.input(0); d {
	case backends.Int8:
		return bitwise[int8](n)
	case backends.Int16:
		return bitwise[int16](n)
	case backends.Int32:
		return bitwise[int32](n)
	case backends.Int64:
		return bitwise[int64](n)
	case backends.Uint8:
		return bitwise[uint8](n)
	case backends.Uint16:
		return bitwise[uint16](n)
	case backends.Uint32:
		return bitwise[uint32](n)
	case backends.Uint64:
		return bitwise[uint64](n)
	default:
		return nil, n.unsupported("an input of %v", d)
	}
}

func bitwise[T integer](n *node) (kernel, error) {
	d := n.input(0)
	pairs := func(f func(a, b T) T) (kernel, error) { return broadcasting(d, each2(f)), nil }
	switch n.Op {
	case "BitwiseAnd":
		return pairs(func(a, b T) T { return a & b })
	case "BitwiseOr":
		return pairs(func(a, b T) T { return a | b })
	case "BitwiseXor":
		return pairs(func(a, b T) T { return a ^ b })
	case "BitwiseNot":
		return elementwise(d, each1(func(v T) T { return ^v })), nil
	}
	switch direction := n.string("direction", ""); direction {
	case "LEFT":
		return pairs(shiftLeft[T])
	case "RIGHT":
		return pairs(shiftRight[T])
	default:
		return nil, backends.Errorf(backends.ErrInvalid, "direction %q: it is LEFT or RIGHT", direction)
	}
}

// shiftLeft shifts by no less than nothing; negative amounts shift everything out.
func shiftLeft[T integer](v, by T) T {
	if by < 0 || uint64(by) >= 64 {
		return 0
	}
	return v << uint64(by)
}

// shiftRight keeps the sign; negative amounts leave nothing else.
func shiftRight[T integer](v, by T) T {
	if width := uint64(8 * unsafe.Sizeof(v)); by < 0 || uint64(by) >= width {
		return v >> (width - 1) >> 1
	}
	return v >> uint64(by)
}

// buildBitCast builds the reading of elements as another type of the same width.
func buildBitCast(n *node) (kernel, error) {
	from, to := n.input(0), n.output(0)
	if from.Size() != to.Size() || from == backends.Bytes || to == backends.Bytes {
		return nil, backends.Errorf(backends.ErrInvalid, "%v as %v", from, to)
	}
	return func(_ *run, in, out []*tensor) error {
		if to == backends.Bool {
			for i, v := range in[0].raw {
				if v > 1 {
					return backends.Errorf(backends.ErrInvalid, "element %d is %d, a BOOL is 0 or 1", i, v)
				}
			}
		}
		out[0].share(in[0], in[0].shape)
		out[0].dtype = to
		return nil
	}, nil
}
