package cpu

import (
	"math"
	"strconv"

	"github.com/thrumserve/thrum/backends"
)

// buildCast builds Cast and CastLike.
func buildCast(n *node) (kernel, error) {
	k, err := converter(n, n.input(0), n.output(0))
	if err != nil {
		return nil, err
	}
	return func(r *run, in, out []*tensor) error { return k(r, in[:1], out) }, nil
}

// converter returns a kernel that makes a tensor of type to of one of type from. Floats
// become integers by truncation; FP16 and BF16 are rounded to even.
func converter(n *node, from, to backends.Datatype) (kernel, error) {
	if from == to {
		return func(_ *run, in, out []*tensor) error {
			out[0].share(in[0], in[0].shape)
			return nil
		}, nil
	}
	var k kernel
	switch from {
	case backends.Bool:
		k = convertFrom(to, func(v bool) int64 { return boolNumber[int64](v) })
	case backends.Uint8:
		k = convertFrom(to, same[uint8])
	case backends.Uint16:
		k = convertFrom(to, same[uint16])
	case backends.Uint32:
		k = convertFrom(to, same[uint32])
	case backends.Uint64:
		k = convertFrom(to, same[uint64])
	case backends.Int8:
		k = convertFrom(to, same[int8])
	case backends.Int16:
		k = convertFrom(to, same[int16])
	case backends.Int32:
		k = convertFrom(to, same[int32])
	case backends.Int64:
		k = convertFrom(to, same[int64])
	case backends.FP16:
		k = convertFrom(to, halfToFloat)
	case backends.BF16:
		k = convertFrom(to, bfloatToFloat)
	case backends.FP32:
		k = convertFrom(to, same[float32])
	case backends.FP64:
		k = convertFrom(to, same[float64])
	case backends.Bytes:
		k = parseTo(to)
	}
	if k == nil {
		return nil, n.unsupported("conversion from %v to %v", from, to)
	}
	return k, nil
}

func same[T any](v T) T { return v }

func boolNumber[T number](v bool) T {
	if v {
		return 1
	}
	return 0
}

// convertFrom returns the kernel that reads elements as S, decodes them to the number N and
// writes them as to.
func convertFrom[S element, N number](to backends.Datatype, decode func(S) N) kernel {
	switch to {
	case backends.Bool:
		return converting(to, func(v S) bool { return decode(v) != 0 })
	case backends.Uint8:
		return converting(to, func(v S) uint8 { return uint8(whole(decode(v))) })
	case backends.Uint16:
		return converting(to, func(v S) uint16 { return uint16(whole(decode(v))) })
	case backends.Uint32:
		return converting(to, func(v S) uint32 { return uint32(whole(decode(v))) })
	case backends.Uint64:
		return converting(to, func(v S) uint64 { return uint64(decode(v)) })
	case backends.Int8:
		return converting(to, func(v S) int8 { return int8(whole(decode(v))) })
	case backends.Int16:
		return converting(to, func(v S) int16 { return int16(whole(decode(v))) })
	case backends.Int32:
		return converting(to, func(v S) int32 { return int32(whole(decode(v))) })
	case backends.Int64:
		return converting(to, func(v S) int64 { return whole(decode(v)) })
	case backends.FP16:
		return converting(to, func(v S) uint16 { return floatToHalf(float64(decode(v))) })
	case backends.BF16:
		return converting(to, func(v S) uint16 { return floatToBfloat(float32(decode(v))) })
	case backends.FP32:
		return converting(to, func(v S) float32 { return float32(decode(v)) })
	case backends.FP64:
		return converting(to, func(v S) float64 { return float64(decode(v)) })
	case backends.Bytes:
		return converting(to, func(v S) string { return numberText(decode(v)) })
	}
	return nil
}

// whole truncates v to an integer, so that a narrower type takes its low bits on every
// processor alike.
func whole[N number](v N) int64 { return int64(v) }

func converting[S, D element](to backends.Datatype, f func(S) D) kernel {
	return func(r *run, in, out []*tensor) error {
		if err := r.makeTensor(out[0], to, in[0].shape); err != nil {
			return err
		}
		src, dst := view[S](in[0]), view[D](out[0])
		for i, v := range src {
			dst[i] = f(v)
		}
		return nil
	}
}

// numberText formats v as numpy does for a number of that type.
func numberText[N number](v N) string {
	switch v := any(v).(type) {
	case float32:
		return strconv.FormatFloat(float64(v), 'g', -1, 32)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case uint64:
		return strconv.FormatUint(v, 10)
	}
	return strconv.FormatInt(int64(v), 10)
}

// parseTo returns the kernel that reads numbers from strings.
func parseTo(to backends.Datatype) kernel {
	integer := func(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) }
	real := func(s string) (float64, error) { return strconv.ParseFloat(s, 64) }
	switch to {
	case backends.Bool, backends.Int8, backends.Int16, backends.Int32, backends.Int64, backends.Uint8, backends.Uint16, backends.Uint32:
		return parsing(convertFrom(to, same[int64]), backends.Int64, integer)
	case backends.Uint64:
		return parsing(nil, to, func(s string) (uint64, error) { return strconv.ParseUint(s, 10, 64) })
	case backends.FP16, backends.BF16, backends.FP32:
		return parsing(convertFrom(to, same[float64]), backends.FP64, real)
	case backends.FP64:
		return parsing(nil, to, real)
	}
	return nil
}

// parsing reads every string with f, and turns what it gives, of type d, over to narrow.
func parsing[T number](narrow kernel, d backends.Datatype, f func(string) (T, error)) kernel {
	return func(r *run, in, out []*tensor) error {
		to := out[0]
		if narrow != nil {
			to = r.scratch()
		}
		if err := r.makeTensor(to, d, in[0].shape); err != nil {
			return err
		}
		dst := view[T](to)
		for i, s := range in[0].strings {
			v, err := f(s)
			if err != nil {
				return backends.Errorf(backends.ErrInvalid, "element %d, %q, is not a number of %v", i, s, d)
			}
			dst[i] = v
		}
		if narrow == nil {
			return nil
		}
		return narrow(r, []*tensor{to}, out)
	}
}

// halfToFloat returns the value of an FP16.
func halfToFloat(h uint16) float32 {
	sign, exp, frac := uint32(h>>15)<<31, uint32(h>>10&31), uint32(h&0x3ff)
	switch exp {
	case 0:
		v := float32(frac) * 0x1p-24
		return math.Float32frombits(math.Float32bits(v) | sign)
	case 31:
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}

// floatToHalf returns the FP16 nearest to v, ties to even.
func floatToHalf(v float64) uint16 {
	sign := uint16(math.Float64bits(v) >> 48 & 0x8000)
	a := math.Abs(v)
	switch {
	case a != a:
		return sign | 0x7e00
	case a >= 65520:
		return sign | 0x7c00
	case a < 0x1p-14:
		return sign | uint16(math.RoundToEven(a*0x1p24))
	}
	frac, exp := math.Frexp(a) // a = frac·2^exp with frac in [0.5, 1)
	m := int(math.RoundToEven(frac * 2048))
	return sign | uint16((exp+14)<<10+m-1024)
}

// bfloatToFloat returns the value of a BF16.
func bfloatToFloat(b uint16) float32 { return math.Float32frombits(uint32(b) << 16) }

// floatToBfloat returns the BF16 nearest to v, ties to even.
func floatToBfloat(v float32) uint16 {
	u := math.Float32bits(v)
	if v != v {
		return uint16(u>>16) | 0x40
	}
	return uint16((u + 0x7fff + u>>16&1) >> 16)
}
