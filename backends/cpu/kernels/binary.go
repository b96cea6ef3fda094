package kernels

// Operator names a function of two values.
type Operator uint8

// The operators. Max and Min give NaN if either value is NaN; which zero they give for two zeros
// of different sign is not specified. The others are correctly rounded.
const (
	Add Operator = iota
	Sub
	Mul
	Div
	Max
	Min
)

// Combine sets dst[i] = a[i] op b[i]. Either a or b may hold a single value, which then stands on
// its side in every place; otherwise the lengths are those of dst. dst may be a or b.
//
// For a row that repeats, call it once per row.
func Combine(op Operator, dst, a, b []float32) {
	if len(a) != len(dst) && len(a) != 1 || len(b) != len(dst) && len(b) != 1 {
		panic("kernels: Combine: lengths differ")
	}
	if len(dst) == 0 {
		return
	}
	level := CurrentLevel()
	if level == Portable {
		combinePortable(op, dst, a, b)
		return
	}
	for at := 0; at < len(dst); at += chunk {
		end := min(at+chunk, len(dst))
		combineLevel(level, op, dst[at:end], part(a, at, end, len(dst)), part(b, at, end, len(dst)))
	}
}

// part returns the values from at to end of an operand, which may be a single value for all n.
func part(x []float32, at, end, n int) []float32 {
	if len(x) < n {
		return x
	}
	return x[at:end]
}

func combinePortable(op Operator, dst, a, b []float32) {
	f := op.scalar()
	stepA, stepB := min(len(a)-1, 1), min(len(b)-1, 1)
	firstA, firstB := a[0], b[0]
	for i := range dst {
		x, y := firstA, firstB
		if stepA == 1 {
			x = a[i]
		}
		if stepB == 1 {
			y = b[i]
		}
		dst[i] = f(x, y)
	}
}

func (op Operator) scalar() func(a, b float32) float32 {
	switch op {
	case Add:
		return func(a, b float32) float32 { return a + b }
	case Sub:
		return func(a, b float32) float32 { return a - b }
	case Mul:
		return func(a, b float32) float32 { return a * b }
	case Div:
		return func(a, b float32) float32 { return a / b }
	case Max:
		return func(a, b float32) float32 { return max(a, b) }
	case Min:
		return func(a, b float32) float32 { return min(a, b) }
	}
	panic("kernels: unknown operator")
}
