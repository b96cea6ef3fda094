package kernels_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/thrumserve/thrum/backends/cuda/kernels"
)

// function computes what Map and epilogues do, exactly.
func function(name string, alpha, beta, x, y float64) float64 {
	truth := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	switch name {
	case "Relu":
		if x < 0 {
			return 0
		}
		return x
	case "Gelu":
		return x / 2 * (1 + math.Erf(x/math.Sqrt2))
	case "GeluTanh":
		return x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	case "Swish":
		return x / (1 + math.Exp(-x))
	case "HardSwish":
		return x * min(max(x/6+0.5, 0), 1)
	case "HardSigmoid":
		return min(max(alpha*x+beta, 0), 1)
	case "Sigmoid":
		return 1 / (1 + math.Exp(-x))
	case "Tanh":
		return math.Tanh(x)
	case "Clip":
		return min(max(x, alpha), beta)
	case "Elu":
		if x < 0 {
			return alpha * math.Expm1(x)
		}
		return x
	case "LeakyRelu":
		if x < 0 {
			return alpha * x
		}
		return x
	case "Softplus":
		return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x)))
	case "Sign":
		return truth(x > 0) - truth(x < 0)
	case "IsNaN":
		return truth(x != x)
	case "Not":
		return truth(x == 0)
	case "Neg":
		return -x
	case "Reciprocal":
		return 1 / x
	case "Add":
		return x + y
	case "Sub":
		return x - y
	case "Mul":
		return x * y
	case "Div":
		return x / y
	case "Max":
		return max(x, y)
	case "Min":
		return min(x, y)
	case "PRelu":
		if x < 0 {
			return x * y
		}
		return x
	case "And":
		return truth(x != 0 && y != 0)
	case "Or":
		return truth(x != 0 || y != 0)
	case "Xor":
		return truth((x != 0) != (y != 0))
	case "Equal":
		return truth(x == y)
	case "Greater":
		return truth(x > y)
	case "GreaterOrEqual":
		return truth(x >= y)
	case "Less":
		return truth(x < y)
	case "LessOrEqual":
		return truth(x <= y)
	}
	if f, ok := plain[name]; ok {
		return f(x)
	}
	return math.Pow(x, y)
}

var plain = map[string]func(float64) float64{
	"": func(x float64) float64 { return x }, "Abs": math.Abs, "Acos": math.Acos, "Asin": math.Asin, "Atan": math.Atan,
	"Ceil": math.Ceil, "Cos": math.Cos, "Erf": math.Erf, "Exp": math.Exp, "Floor": math.Floor, "Log": math.Log,
	"Round": math.RoundToEven, "Sin": math.Sin, "Sqrt": math.Sqrt,
}

// finish computes an epilogue.
func finish(e kernels.Epilogue, sum float64, bias, residual *array, column, at int) float64 {
	if bias != nil {
		sum += bias.get(column)
	}
	if residual != nil && e.Before {
		sum += residual.get(at)
	}
	sum = function(e.Activation.Function, float64(e.Activation.Alpha), float64(e.Activation.Beta), sum, 0)
	if residual != nil && !e.Before {
		sum += residual.get(at)
	}
	return sum
}

var epilogueNames = []string{"", "Relu", "Gelu", "GeluTanh", "Swish", "HardSwish", "Sigmoid", "Tanh", "Clip"}

// epilogue draws one for a result of that many columns and elements.
func (b *bench) epilogue(t kernels.Type, columns, elements int64) (e kernels.Epilogue, bias, residual *array) {
	e.Activation = kernels.Activation{Function: epilogueNames[b.rand.IntN(len(epilogueNames))], Alpha: -0.5, Beta: 0.75}
	if b.rand.IntN(2) == 0 {
		bias = b.normal(t, columns, 1)
	}
	if b.rand.IntN(2) == 0 {
		residual = b.normal(t, elements, 1)
	}
	e.Bias, e.Residual, e.Before = or(bias), or(residual), b.rand.IntN(2) == 0
	return e, bias, residual
}

// productSize is a case of a product.
type productSize struct {
	name    string
	m, n, k int64
	batch   [2]int64
}

func TestGemm(t *testing.T) {
	sizes := []productSize{
		{"divided", 3, 70, 600, [2]int64{1, 2}},
		{"divided, odd", 65, 37, 1031, [2]int64{2, 1}},
		{"one of everything", 1, 1, 1, [2]int64{1, 1}},
		{"whole small tiles", 64, 64, 64, [2]int64{1, 1}},
		{"a tile and a row", 65, 130, 40, [2]int64{1, 1}},
		{"odd", 37, 45, 51, [2]int64{2, 3}},
		{"deep", 5, 72, 300, [2]int64{1, 2}},
		{"rows of eight", 80, 24, 96, [2]int64{3, 1}},
		{"large tiles", 260, 136, 48, [2]int64{20, 1}},
		{"large tiles, odd", 129, 131, 33, [2]int64{15, 2}},
	}
	for _, s := range sizes {
		for _, kind := range []string{"f32", "tf32", "f16", "bf16"} {
			for _, transposed := range []bool{false, true} {
				if s.batch[0] > 10 && (kind == "f32" || testing.Short() || s.name == "large tiles" && shipped(t) != nil) {
					continue
				}
				t.Run(s.name+" "+kind, func(t *testing.T) { newBench(t).gemm(s, kind, transposed) })
			}
		}
	}
}

// gemm holds one product against the exact one.
func (b *bench) gemm(s productSize, kind string, transposed bool) {
	b.Helper()
	typ := floats[max(slices.Index([]string{"f32", "f16", "bf16"}, kind), 0)]
	g := kernels.Gemm{Type: typ, TF32: kind == "tf32", M: s.m, N: s.n, K: s.k, Batch: s.batch, TransposedB: transposed, Alpha: 0.75}
	if strings.HasPrefix(s.name, "divided") {
		g.Room.Processors = int64(4 + b.rand.IntN(12))
	}
	spread := b.rand.IntN(3)
	brows, bcolumns := s.k, s.n
	if transposed {
		brows, bcolumns = s.n, s.k
	}
	count := s.batch[0] * s.batch[1]
	if b.first {
		count = 1
	}
	matrix := func(rows, columns int64) kernels.Matrix {
		row := columns
		switch spread {
		case 1:
			row += int64(b.rand.IntN(9))
		case 2:
			row = (columns + 15) / 8 * 8 // whole vectors, with elements of nobody at their end
		}
		return kernels.Matrix{Row: row, Batch: [2]int64{rows * row * s.batch[1], rows * row}}
	}
	g.A, g.B, g.C = matrix(s.m, s.k), matrix(brows, bcolumns), matrix(s.m, s.n)
	if b.rand.IntN(2) == 0 {
		g.B.Batch = [2]int64{} // one for all
	}
	deviation := math.Pow(float64(s.k), -0.25)
	x, y := b.normal(typ, count*s.m*g.A.Row, deviation), b.normal(typ, count*brows*g.B.Row, deviation)
	z := b.empty(typ, count*s.m*g.C.Row)
	e, bias, residual := b.epilogue(typ, s.n, count*s.m*g.C.Row)
	g.A.Address, g.B.Address, g.C.Address, g.Epilogue = x.at(), y.at(), z.at(), e
	parts := b.parts(g)
	if g.Room.Parts = or(parts); strings.HasPrefix(s.name, "divided") != (parts != nil) {
		b.Fatalf("%+v has %d bytes of parts", g, g.PartsBytes())
	}
	b.multiply(g)
	within := precision(typ)
	if g.TF32 {
		within = 4e-3
	}
	b.checkGemm(g, x, y, z, bias, residual, within)
}

// checkGemm checks some elements of a product, and that nobody has written between its rows.
func (b *bench) checkGemm(g kernels.Gemm, x, y, z, bias, residual *array, within float64) {
	b.Helper()
	pick := max(1, z.len()/20000)
	for i := range z.len() {
		at := int64(i)
		outer, at := at/g.C.Batch[0], at%g.C.Batch[0]
		inner, at := at/g.C.Batch[1], at%g.C.Batch[1]
		row, column := at/g.C.Row, at%g.C.Row
		if column >= g.N {
			if !z.poisoned(i) {
				b.Fatalf("%+v: element %d between rows is written", g, i)
			}
			continue
		}
		if z.poisoned(i) {
			b.Fatalf("%+v: element %d is not written", g, i)
		}
		if pick > 1 && b.rand.IntN(pick) > 0 {
			continue
		}
		sum := 0.0
		for k := range g.K {
			other := k*g.B.Row + column
			if g.TransposedB {
				other = column*g.B.Row + k
			}
			sum += x.get(int(outer*g.A.Batch[0]+inner*g.A.Batch[1]+row*g.A.Row+k)) * y.get(int(outer*g.B.Batch[0]+inner*g.B.Batch[1]+other))
		}
		want := finish(g.Epilogue, float64(g.Alpha)*sum, bias, residual, int(column), i)
		if got := z.get(i); !(math.Abs(got-want) <= within*max(1, math.Abs(want))) {
			b.Fatalf("%+v: row %d column %d is %v, want %v", g, row, column, got, want)
		}
	}
}

// requantized draws what becomes of sums.
func (b *bench) requantized(out kernels.Type, columns, elements int64) (kernels.Requantized, func(at, column int, sum float64) float64) {
	r := kernels.Requantized{Out: out, OutScale: 0.02, OutZero: 5, Before: b.rand.IntN(2) == 0,
		Activation: kernels.Activation{Function: []string{"", "Relu", "Clip", "HardSwish"}[b.rand.IntN(4)], Alpha: -0.5, Beta: 0.75}}
	scale := b.normal(kernels.F32, columns, 1e-3)
	var bias, residual *array
	if b.rand.IntN(3) > 0 {
		bias = b.normal(kernels.F32, columns, 1)
	}
	if b.rand.IntN(2) == 0 {
		r.ResidualScale, r.ResidualZero = 0.01, 3
		switch r.ResidualType = []kernels.Type{kernels.F32, kernels.BF16, kernels.I8, kernels.U8}[b.rand.IntN(4)]; {
		case r.ResidualType <= kernels.BF16:
			residual = b.normal(r.ResidualType, elements, 100)
		default:
			residual = b.whole(r.ResidualType, elements, -128, 128)
		}
	}
	r.Scale, r.Bias, r.Residual = scale.at(), or(bias), or(residual)
	return r, func(at, column int, sum float64) float64 {
		v := sum * scale.get(column)
		if bias != nil {
			v += bias.get(column)
		}
		extra := 0.0
		if residual != nil {
			extra = (residual.get(at) - 3) * float64(float32(0.01))
		}
		if r.Before {
			v += extra
		}
		v = function(r.Activation.Function, -0.5, 0.75, v, 0)
		if !r.Before {
			v += extra
		}
		return v
	}
}

// checkBytes checks element i of a result that is want before it is quantised.
func (b *bench) checkBytes(what any, z *array, i int, want float64) {
	b.Helper()
	got, within := z.get(i), precision(z.Type)
	if within == 0 {
		low, high := -128.0, 127.0
		if z.Type == kernels.U8 {
			low, high = 0, 255
		}
		exact := want / float64(float32(0.02))
		want, within = min(max(math.RoundToEven(exact)+5, low), high), 0
		if math.Abs(got-want) == 1 && math.Abs(math.Abs(exact-math.Trunc(exact))-0.5) < 1e-2 {
			return // a tie, almost, that single precision rounds the other way
		}
	}
	if z.poisoned(i) || !(math.Abs(got-want) <= within*max(1, math.Abs(want))) {
		b.Fatalf("%+v: element %d is %v, want %v", what, i, got, want)
	}
}

func TestGemmInt8(t *testing.T) {
	for _, a := range []kernels.Type{kernels.I8, kernels.U8} {
		for _, out := range []kernels.Type{kernels.I32, kernels.F32, kernels.F16, kernels.BF16, kernels.I8, kernels.U8} {
			for _, s := range [][4]int64{{1, 1, 1, 0}, {64, 64, 128, 0}, {37, 70, 51, 0}, {1300, 1290, 65, 0}, {9, 68, 2100, 9}, {5, 70, 3000, 7}} {
				if s[0] > 1000 && (out != kernels.I8 || testing.Short()) {
					continue
				}
				newBench(t).gemmInt8(a, out, s)
			}
		}
	}
}

// gemmInt8 holds one product of bytes, m, n, k and the processors of a device, against the exact one.
func (b *bench) gemmInt8(a, out kernels.Type, s [4]int64) {
	b.Helper()
	m, n, k := s[0], s[1], s[2]
	rows := m
	if b.first {
		rows = 128
	}
	x, y := b.whole(a, rows*k, -128, 128), b.whole(kernels.I8, n*k, -128, 128)
	z := b.empty(out, rows*n)
	r, finish := b.requantized(out, n, rows*n)
	g := kernels.GemmInt8{Requantized: r, A: a, M: m, N: n, K: k, AddressA: x.at(), AddressB: y.at(), Y: z.at(), Room: kernels.Room{Processors: s[3]}}
	parts := b.parts(g)
	if g.Room.Parts = or(parts); (parts != nil) != (s[3] > 0) {
		b.Fatalf("%+v has %d bytes of parts", g, g.PartsBytes())
	}
	b.multiply(g)
	pick := max(1, z.len()/5000)
	for i := range z.len() {
		if pick > 1 && b.rand.IntN(pick) > 0 {
			continue
		}
		sum := 0.0
		for j := range int(k) {
			sum += x.get(i/int(n)*int(k)+j) * y.get(i%int(n)*int(k)+j)
		}
		if out != kernels.I32 {
			b.checkBytes(g, z, i, finish(i, i%int(n), sum))
		} else if z.get(i) != sum {
			b.Fatalf("%+v: element %d is %v, want %v", g, i, z.get(i), sum)
		}
	}
}

// TestTiles runs a block of each kernel with all that may become of sums.
func TestTiles(t *testing.T) {
	times := 60
	if testing.Short() {
		times = 2
	}
	upTo := rand.Int64N
	for range times {
		// Large tiles are taken where there are many.
		images, batch, rows := int64(15000), int64(200), int64(20000)
		if upTo(3) == 0 {
			images, batch, rows = 3, 1, 100
		}
		first := func() *bench {
			b := newBench(t)
			b.first = batch > 1
			return b
		}
		for _, kind := range []string{"f32", "tf32", "f16", "bf16"} {
			if kind == "f32" && batch > 1 {
				continue // tiles are the same
			}
			for _, transposed := range []bool{false, true} {
				first().gemm(productSize{"", 1 + upTo(64), 1 + upTo(64), 1 + upTo(100), [2]int64{batch, 1}}, kind, transposed)
			}
			size := 1 + 2*upTo(2)
			first().conv(slid{"", images, 5, 6, 1 + upTo(20), 1 + upTo(64), 1, size, 1, size / 2, 1, 0}, kind)
		}
		for _, typ := range []kernels.Type{kernels.I8, kernels.U8} {
			out := []kernels.Type{kernels.I32, kernels.F32, kernels.F16, kernels.BF16, kernels.I8, kernels.U8}[upTo(6)]
			first().gemmInt8(typ, out, [4]int64{rows, 1 + upTo(64), 1 + upTo(200), 0})
			first().convInt8(slid{"", images, 5, 6, 1 + upTo(40), 1 + upTo(64), 1, 1 + 2*upTo(2), 1, 0, 1, 0}, typ, out)
		}
	}
}

// TestShares holds the division of the depth against what it should be.
func TestShares(t *testing.T) {
	for _, c := range []struct {
		situation        string
		m, n, k          int64
		processors, want int64
	}{
		{"no processors", 1, 4096, 4096, 0, 1},
		{"one row", 1, 4096, 4096, 132, 4},
		{"one row and column", 1, 64, 8192, 132, 16},
		{"a depth of few slabs", 1, 1000, 480, 132, 1},
		{"a depth of twice as many", 1, 1000, 512, 132, 2},
		{"tiles for half of a device", 64 * 12, 64 * 11, 4096, 132, 2},
		{"tiles enough", 64 * 12, 64 * 12, 4096, 132, 1},
		{"parts that do not come out even", 1, 64, 32 * 130, 132, 15},
		{"a small device", 1, 4096, 4096, 20, 1},
	} {
		g := kernels.Gemm{Type: kernels.F16, M: c.m, N: c.n, K: c.k, Batch: [2]int64{1, 1}, Alpha: 1, Room: kernels.Room{Processors: c.processors, Parts: 1}}
		all, err := g.Launches()
		if err != nil {
			t.Fatal(err)
		}
		got, bytes := int64(all[0].Grid[2]), int64(0)
		if c.want > 1 {
			bytes = 4 * c.want * c.m * c.n
		}
		if got != c.want || g.PartsBytes() != bytes || len(all) != min(int(c.want), 2) {
			t.Errorf("%s: %d shares, %d launches and %d bytes, want %d shares and %d bytes", c.situation, got, len(all), g.PartsBytes(), c.want, bytes)
		}
	}
}
