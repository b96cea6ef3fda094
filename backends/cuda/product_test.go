package cuda

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cuda/cublaslt"
	"github.com/thrumserve/thrum/backends/cuda/kernels"
	"github.com/thrumserve/thrum/backends/cuda/lower"
)

// plainGemm is a product of 4 × 5 by 5 × 7, dense, and multiples of 256 are where its operands lie.
func plainGemm() kernels.Gemm {
	return kernels.Gemm{
		Type: kernels.F16, M: 4, N: 7, K: 5, Batch: [2]int64{1, 1}, Alpha: 1,
		A: kernels.Matrix{Address: 256, Row: 5}, B: kernels.Matrix{Address: 512, Row: 7}, C: kernels.Matrix{Address: 768, Row: 7},
	}
}

// TestEpiloguesAreDivided says what of an epilogue the library does, and what kernels do after it.
func TestEpiloguesAreDivided(t *testing.T) {
	for _, c := range []struct {
		situation      string
		epilogue       kernels.Epilogue
		activation     cublaslt.Activation
		bias, residual uint32
		rest           string // functions of kernels
	}{
		{"nothing", kernels.Epilogue{}, cublaslt.None, 0, 0, ""},
		{"a bias", kernels.Epilogue{Bias: 64}, cublaslt.None, 64, 0, ""},
		{"a bias and ReLU", kernels.Epilogue{Bias: 256, Activation: kernels.Activation{Function: "Relu"}}, cublaslt.Relu, 256, 0, ""},
		{"GELU by tanh", kernels.Epilogue{Activation: kernels.Activation{Function: "GeluTanh"}}, cublaslt.GeluTanh, 0, 0, ""},
		{"GELU by erf", kernels.Epilogue{Bias: 256, Activation: kernels.Activation{Function: "Gelu"}}, cublaslt.None, 256, 0, "Gelu"},
		{"a residual", kernels.Epilogue{Bias: 256, Residual: 1032}, cublaslt.None, 256, 8, ""},
		{"a residual before ReLU", kernels.Epilogue{Residual: 1024, Before: true, Activation: kernels.Activation{Function: "Relu"}}, cublaslt.Relu, 0, 256, ""},
		{"a residual before SiLU", kernels.Epilogue{Residual: 1024, Before: true, Activation: kernels.Activation{Function: "Swish"}}, cublaslt.None, 0, 256, "Swish"},
		{"a residual after ReLU", kernels.Epilogue{Residual: 1024, Activation: kernels.Activation{Function: "Relu"}}, cublaslt.Relu, 0, 0, "Add"},
		{"a residual after SiLU", kernels.Epilogue{Residual: 1024, Activation: kernels.Activation{Function: "Swish"}}, cublaslt.None, 0, 0, "Swish Add"},
	} {
		g := plainGemm()
		g.Epilogue = c.epilogue
		p, ok := productOf(g)
		d := p.described
		if !ok || d.Activation != c.activation || d.Bias != c.bias || d.Residual != c.residual {
			t.Errorf("%s: %+v, %v, want activation %d, bias %d, residual %d", c.situation, d, ok, c.activation, c.bias, c.residual)
		}
		if (d.Bias != 0 && p.at.Bias != c.epilogue.Bias) || (d.Residual != 0 && p.at.Residual != c.epilogue.Residual) {
			t.Errorf("%s: operands %+v", c.situation, p.at)
		}
		var want []kernels.Launch
		out := kernels.View{Address: 768, Type: kernels.F16, Strides: []int64{0, 0, 7, 1}}
		for function := range strings.FieldsSeq(c.rest) {
			m := kernels.Map{Function: function, Shape: []int64{1, 1, 4, 7}, Out: out, In: []kernels.View{out}}
			if function == "Add" {
				m.In = append(m.In, kernels.View{Address: 1024, Type: kernels.F16, Strides: out.Strides})
			}
			l, err := m.Launch()
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, l)
		}
		if !equalLaunches(p.rest, want) {
			t.Errorf("%s: kernels do %+v, want %+v", c.situation, p.rest, want)
		}
	}
}

func equalLaunches(a, b []kernels.Launch) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Name != b[i].Name || len(a[i].Args) != len(b[i].Args) {
			return false
		}
		for k := range a[i].Args {
			if a[i].Args[k] != b[i].Args[k] {
				return false
			}
		}
	}
	return true
}

// TestProductsOfBatches says which batches of matrices the library takes, as one batch.
func TestProductsOfBatches(t *testing.T) {
	for _, c := range []struct {
		situation string
		change    func(*kernels.Gemm)
		ok        bool
		want      cublaslt.Product // a, b and d alone, and how many
	}{
		{"one", func(*kernels.Gemm) {}, true, cublaslt.Product{Batch: 1, A: cublaslt.Matrix{Row: 5, Alignment: 256}, B: cublaslt.Matrix{Row: 7, Alignment: 256}, D: cublaslt.Matrix{Row: 7, Alignment: 256}}},
		{"heads that follow each other, B the same for all", func(g *kernels.Gemm) {
			g.Batch = [2]int64{2, 3}
			g.A.Batch, g.C.Batch = [2]int64{60, 20}, [2]int64{84, 28}
		}, true, cublaslt.Product{Batch: 6, A: cublaslt.Matrix{Row: 5, Batch: 20, Alignment: 256}, B: cublaslt.Matrix{Row: 7, Alignment: 256}, D: cublaslt.Matrix{Row: 7, Batch: 28, Alignment: 256}}},
		{"heads side by side", func(g *kernels.Gemm) {
			g.Batch = [2]int64{2, 3}
			g.A.Batch, g.A.Row, g.C.Batch = [2]int64{60, 5}, 15, [2]int64{84, 28}
		}, false, cublaslt.Product{}},
		{"heads side by side of one batch", func(g *kernels.Gemm) {
			g.Batch = [2]int64{1, 3}
			g.A.Batch, g.A.Row, g.C.Batch = [2]int64{60, 5}, 15, [2]int64{84, 28}
		}, true, cublaslt.Product{Batch: 3, A: cublaslt.Matrix{Row: 15, Batch: 5, Alignment: 256}, B: cublaslt.Matrix{Row: 7, Alignment: 256}, D: cublaslt.Matrix{Row: 7, Batch: 28, Alignment: 256}}},
		{"rows that are all the same", func(g *kernels.Gemm) { g.A.Row = 0 }, false, cublaslt.Product{}},
		{"columns of B", func(g *kernels.Gemm) { g.TransposedB, g.B.Row, g.B.Address = true, 5, 520 }, true,
			cublaslt.Product{Batch: 1, TransposedB: true, A: cublaslt.Matrix{Row: 5, Alignment: 256}, B: cublaslt.Matrix{Row: 5, Alignment: 8}, D: cublaslt.Matrix{Row: 7, Alignment: 256}}},
		{"bytes", func(g *kernels.Gemm) { g.Type = kernels.I8 }, false, cublaslt.Product{}},
	} {
		g := plainGemm()
		c.change(&g)
		p, ok := productOf(g)
		if ok != c.ok {
			t.Errorf("%s: %v, want %v", c.situation, ok, c.ok)
			continue
		}
		want := c.want
		want.Type, want.M, want.N, want.K, want.Alpha = cublaslt.F16, 4, 7, 5, 1
		if at := (cublaslt.Operands{A: 256, B: g.B.Address, D: 768}); ok && (p.described != want || p.at != at) {
			t.Errorf("%s: %+v at %+v, want %+v at %+v", c.situation, p.described, p.at, want, at)
		}
	}
}

// at returns a dense tensor at an address, and a binding that knows it.
func at(places map[*lower.Buffer]uint64, address uint64, d backends.Datatype, shape ...int64) lower.Tensor {
	t := lower.NewWeight("", d, shape, nil)
	places[t.Buffer] = address
	return t
}

// TestProductsOfIntegers has the library multiply signed bytes, and kernels scale the sums where they lie.
func TestProductsOfIntegers(t *testing.T) {
	for _, c := range []struct {
		situation string
		rows      backends.Datatype
		n, k      int64
		bias      bool
		rest      []string
	}{
		{"signed", backends.Int8, 8, 12, true, []string{"dequantize", "strided2_f32"}},
		{"without a bias", backends.Int8, 8, 12, false, []string{"dequantize"}},
		{"unsigned", backends.Uint8, 8, 12, true, nil},
		{"an odd width", backends.Int8, 6, 12, true, nil},
		{"an odd depth", backends.Int8, 8, 13, true, nil},
		{"another operand", backends.Int8, 8, 12, true, nil},
	} {
		places := map[*lower.Buffer]uint64{}
		b := binding{address: func(b *lower.Buffer) uint64 { return places[b] }}
		o := &lower.Op{Kind: lower.GemmInteger{}, In: []lower.Tensor{
			at(places, 256, c.rows, 1, 1, 5, c.k), at(places, 512, backends.Int8, c.n, c.k), at(places, 768, backends.FP32, c.n), {},
		}, Out: []lower.Tensor{at(places, 1280, backends.FP32, 1, 1, 5, c.n)}}
		if c.bias {
			o.In[3] = at(places, 1024, backends.FP32, c.n)
		}
		if c.situation == "another operand" {
			o.In = append(o.In, at(places, 2048, backends.FP32, 1, 1, 5, c.n))
		}
		p, ok := b.product(o)
		if ok != (c.rest != nil) || len(p.rest) != len(c.rest) {
			t.Errorf("%s: %v and %+v, want kernels %v", c.situation, ok, p.rest, c.rest)
			continue
		}
		for i, l := range p.rest {
			if !strings.HasPrefix(l.Name, c.rest[i]) {
				t.Errorf("%s: kernel %d is %s, want %s", c.situation, i, l.Name, c.rest[i])
			}
		}
		want := cublaslt.Product{Type: cublaslt.I8, M: 5, N: 8, K: 12, Batch: 1, TransposedB: true, Alpha: 1,
			A: cublaslt.Matrix{Row: 12, Alignment: 256}, B: cublaslt.Matrix{Row: 12, Alignment: 256}, D: cublaslt.Matrix{Row: 8, Alignment: 256}}
		if ok && (p.described != want || p.at != cublaslt.Operands{A: 256, B: 512, D: 1280}) {
			t.Errorf("%s: %+v at %+v, want %+v", c.situation, p.described, p.at, want)
		}
	}
}

func TestConvolutionsOfOnePixelAreProducts(t *testing.T) {
	places := map[*lower.Buffer]uint64{}
	b := binding{address: func(b *lower.Buffer) uint64 { return places[b] }, tf32: true}
	for size, want := range map[int64]bool{1: true, 3: false} {
		o := &lower.Op{Kind: lower.Conv{Groups: 1, Window: lower.Window{Size: [2]int64{size, size}, Stride: [2]int64{1, 1}, Pad: [2]int64{size / 2, size / 2}, Dilation: [2]int64{1, 1}}},
			In:  []lower.Tensor{at(places, 256, backends.FP32, 2, 5, 5, 3), at(places, 512, backends.FP32, 7, size, size, 3), {}, {}},
			Out: []lower.Tensor{at(places, 768, backends.FP32, 2, 5, 5, 7)}}
		p, ok := b.product(o)
		if ok != want || ok && (p.described.M != 50 || p.described.N != 7 || p.described.K != 3 || !p.described.TransposedB || !p.described.TF32) {
			t.Errorf("a convolution of %d × %d: %+v, %v, want %v", size, size, p.described, ok, want)
		}
	}
}

func TestResultsAreHeldTogether(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		situation string
		got, want []float32
		ok        bool
	}{
		{"equal", []float32{1, -8}, []float32{1, -8}, true},
		{"as far as a share of the largest", []float32{1.07, -8}, []float32{1, -8}, true},
		{"farther", []float32{1.09, -8}, []float32{1, -8}, false},
		{"nothing written", []float32{nan, -8}, []float32{1, -8}, false},
		{"too large for its type", []float32{5, -8}, []float32{inf, -8}, true},
		{"zeros", []float32{0, 0}, []float32{0, 0}, true},
		{"no zeros", []float32{0, 1e-9}, []float32{0, 0}, false},
	} {
		if err := together(c.got, c.want, 0.01); (err == nil) != c.ok {
			t.Errorf("%s: together = %v, want %v", c.situation, err, c.ok)
		}
	}
}

// TestABatchWaitsForLittle says how long may be measured.
func TestABatchWaitsForLittle(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		situation  string
		left, want time.Duration
		serving    bool
	}{
		{"a model that is being loaded", trialTime, trialTime, false},
		{"a batch waits", trialTime, batchTime, true},
		{"a batch waits, and little is left", time.Millisecond, time.Millisecond, true},
		{"nothing is left", -time.Second, -time.Second, true},
	} {
		p := &products{left: c.left, serving: c.serving}
		if p.begin(now); p.until != now.Add(c.want) {
			t.Errorf("%s: measuring ends after %v, want %v", c.situation, p.until.Sub(now), c.want)
		}
	}
}

// TestMeasuringHasAnEnd leaves to kernels what there is no time for.
func TestMeasuringHasAnEnd(t *testing.T) {
	places := map[*lower.Buffer]uint64{}
	b := binding{address: func(b *lower.Buffer) uint64 { return places[b] }}
	o := &lower.Op{Kind: lower.Gemm{Alpha: 1}, In: []lower.Tensor{at(places, 256, backends.FP32, 1, 1, 4, 5), at(places, 512, backends.FP32, 1, 1, 5, 7), {}, {}},
		Out: []lower.Tensor{at(places, 768, backends.FP32, 1, 1, 4, 7)}}
	e := &engine{products: newProducts(&cublaslt.Library{}, fastest)}
	e.products.left = -time.Second
	e.products.begin(time.Now())
	if err := e.decide(b, o); err != nil {
		t.Fatal(err)
	}
	of, _ := b.product(o)
	if c, met := e.products.choices[of.described]; !met || c.plan != nil {
		t.Errorf("the choice is %+v, made %v, want a kernel", c, met)
	}
}
