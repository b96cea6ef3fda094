package cpu

import (
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
	"github.com/thrumserve/thrum/backends/onnx"
	"github.com/thrumserve/thrum/backends/onnx/rewrite"
)

// contrib are the operators of com.microsoft that quantised models have.
var contrib = domain{
	"DynamicQuantizeMatMul":    {buildDynamicQuantizeMatMul, 1},
	"MatMulIntegerToFloat":     {buildMatMulIntegerToFloat, 1},
	"QGemm":                    {buildQGemm, 1},
	"QLinearAdd":               {buildQLinearPair, 1},
	"QLinearAveragePool":       {buildByFloats, 1},
	"QLinearConcat":            {buildByFloats, 1},
	"QLinearGlobalAveragePool": {buildByFloats, 1},
	"QLinearLeakyRelu":         {buildByTable, 1},
	"QLinearMul":               {buildQLinearPair, 1},
	"QLinearSigmoid":           {buildByTable, 1},
	"QLinearSoftmax":           {buildByFloats, 1},
	"QLinearWhere":             {buildByFloats, 1},
}

// byteFloats is a product of bytes whose sums become FP32: inputs of a node that hold its scales,
// and a bias of FP32.
type byteFloats struct {
	byteMatMul
	scaleA, scaleB, bias int
	activation           kernels.Activation
}

// run computes the product. in[p.a] and its zero point and scale may have been made by the step
// itself.
func (p byteFloats) run(r *run, in []*tensor, out *tensor) error {
	s, err := p.sizes(in)
	if err != nil {
		return err
	}
	scaleA, scaleB := view[float32](in[p.scaleA]), view[float32](in[p.scaleB])
	if len(scaleA) != 1 || len(scaleB) != 1 && len(scaleB) != s.n {
		return backends.Errorf(backends.ErrInvalid, "scales of shapes %v and %v for products of %d columns", in[p.scaleA].shape, in[p.scaleB].shape, s.n)
	}
	scaling := kernels.Scaling{RowScale: scaleA, Scale: scaleB, Epilogue: kernels.Epilogue{Activation: p.activation}}
	if bias := optional(in, p.bias); bias != nil {
		if bias.len() != s.n {
			return backends.Errorf(backends.ErrInvalid, "a bias of shape %v for %d columns", bias.shape, s.n)
		}
		scaling.Bias = view[float32](bias)
	}
	if err := r.makeTensor(out, backends.FP32, s.out); err != nil {
		return err
	}
	c := view[float32](out)
	return p.each(in, s, func(g kernels.ByteGemm, at int) { g.Floats(r.engine.pool, c[at:], s.n, scaling) })
}

// buildMatMulIntegerToFloat builds (A-zeroA)(B-zeroB) * (scaleA*scaleB) + bias.
func buildMatMulIntegerToFloat(n *node) (kernel, error) {
	m, err := byteMatMulOf(n, byteMatMul{a: 0, b: 1, zeroA: 4, zeroB: 5})
	if err != nil {
		return nil, err
	}
	p := byteFloats{m, 2, 3, 6, attribute(n, fusedActivation, kernels.Activation{})}
	return func(r *run, in, out []*tensor) error { return p.run(r, in, out[0]) }, nil
}

// buildDynamicQuantizeMatMul builds the same for an A of FP32 that DynamicQuantizeLinear makes bytes.
func buildDynamicQuantizeMatMul(n *node) (kernel, error) {
	// The product sees the node as if A were bytes, with the scale and zero point behind its inputs.
	const scaleA, zeroA = 5, 6
	bytes := *n.Node
	bytes.Inputs = slices.Clone(n.Inputs)
	for len(bytes.Inputs) < scaleA {
		bytes.Inputs = append(bytes.Inputs, nil)
	}
	bytes.Inputs[0] = &onnx.Value{Datatype: backends.Uint8}
	bytes.Inputs = append(bytes.Inputs, &onnx.Value{Datatype: backends.FP32}, &onnx.Value{Datatype: backends.Uint8})
	inner := &node{Node: &bytes, engine: n.engine}
	m, err := byteMatMulOf(inner, byteMatMul{a: 0, b: 1, zeroA: zeroA, zeroB: 3})
	if err != nil {
		return nil, err
	}
	n.taken = append(n.taken, inner.taken...)
	quantize, err := buildDynamicQuantizeLinear(n)
	if err != nil {
		return nil, err
	}
	p := byteFloats{m, scaleA, 2, 4, attribute(n, fusedActivation, kernels.Activation{})}
	return func(r *run, in, out []*tensor) error {
		all := make([]*tensor, zeroA+1)
		copy(all, in)
		all[0], all[scaleA], all[zeroA] = r.scratch(), r.scratch(), r.scratch()
		if err := quantize(r, in[:1], []*tensor{all[0], all[scaleA], all[zeroA]}); err != nil {
			return err
		}
		return p.run(r, all, out[0])
	}, nil
}

// qgemm is a QGemm: A, its scale and zero point, B with both, C, and those of the result.
type qgemm struct {
	byteMatMul
	transA, transB bool
	relu           bool
	alpha          float32
	out            backends.Datatype
}

func buildQGemm(n *node) (kernel, error) {
	q := qgemm{transA: n.int("transA", 0) != 0, transB: n.int("transB", 0) != 0, alpha: n.float("alpha", 1), relu: endsInRelu(n), out: n.output(0)}
	q.byteMatMul = byteMatMul{a: 0, b: 3, zeroA: 2, zeroB: 5}
	for _, i := range []int{q.a, q.b} {
		if !isByte(n.input(i)) {
			return nil, n.unsupported("an input of %v", n.input(i))
		}
	}
	if (q.out == backends.FP32) != !n.given(7) || n.given(6) && n.input(6) != backends.Int32 {
		return nil, n.unsupported("an output of %v with C of %v", q.out, n.input(6))
	}
	w, zero := n.constant(q.b), n.constant(q.zeroB)
	if w != nil && w.rank() == 2 && (zero != nil || !n.given(q.zeroB)) {
		packed, err := q.pack(n.engine, w, zero)
		if err != nil {
			return nil, err
		}
		n.take(q.b)
		q.packed = packed
	}
	return q.kernel, nil
}

// pack packs B.
func (q qgemm) pack(e *engine, w, zero *tensor) (*kernels.PackedBytes, error) {
	k, cols := w.shape[0], w.shape[1]
	if q.transB {
		k, cols = cols, k
	}
	zeros := zerosOf(zero)
	if len(zeros) > 1 && len(zeros) != cols {
		return nil, backends.Errorf(backends.ErrInvalid, "zero points of shape %v for %d columns", zero.shape, cols)
	}
	b := bytesOf(w, w.shape[1], zeros)
	if e == nil {
		return kernels.PackBytes(b, k, cols, q.transB), nil
	}
	return e.packBytes(b, k, cols, q.transB), nil
}

func (q qgemm) kernel(r *run, in, out []*tensor) error {
	a, err := r.turned(in[q.a], q.transA)
	if err != nil {
		return err
	}
	packed := q.packed
	if packed == nil {
		if in[q.b].rank() != 2 {
			return backends.Errorf(backends.ErrInvalid, "a matrix of shape %v", in[q.b].shape)
		}
		if packed, err = q.pack(nil, in[q.b], optional(in, q.zeroB)); err != nil {
			return err
		}
	}
	if a.rank() != 2 || a.shape[1] != packed.K() {
		return backends.Errorf(backends.ErrInvalid, "a product of shape %v with %d rows", a.shape, packed.K())
	}
	m, n := a.shape[0], packed.N()
	zeros, err := spreadZeros(zerosOf(optional(in, q.zeroA)), m, 1)
	if err != nil {
		return err
	}
	scales := view[float32](in[4])
	if in[1].len() != 1 || len(scales) != 1 && len(scales) != n {
		return backends.Errorf(backends.ErrInvalid, "scales of shapes %v and %v for %d columns", in[1].shape, in[4].shape, n)
	}
	g := kernels.ByteGemm{M: m, A: bytesOf(a, a.shape[1], zeros(0)), B: packed}
	if g.Bias, err = sumsBias(optional(in, 6), n); err != nil {
		return err
	}
	if err := r.makeTensor(out[0], q.out, []int{m, n}); err != nil {
		return err
	}
	scale := q.alpha * view[float32](in[1])[0]
	if q.out == backends.FP32 {
		g.Floats(r.engine.pool, view[float32](out[0]), n, kernels.Scaling{RowScale: []float32{scale}, Scale: scales})
		return nil
	}
	rounding, err := roundingOf(scale, scales, in[7], optional(in, 8), q.out)
	if err != nil {
		return err
	}
	rounding.Relu = q.relu
	g.Bytes(r.engine.pool, out[0].raw, n, rounding)
	return nil
}

// byFloats is an operator on bytes that has no form in integers: its inputs are dequantised, the
// operator computes in FP32, and its result is quantised.
type byFloats struct {
	data        []int // inputs that are bytes, each before its scale and zero point
	scales      []int // of data
	plain       []int // inputs that go as they are, before data
	scale, zero int   // inputs: those of the result
	sum         bool  // the inputs are made multiples of the result's scale: half of it is half, and rounds to even
	inner       kernel
	out         backends.Datatype
}

// floatOps are the operators in FP32 of those on bytes.
var floatOps = map[string]string{
	"QLinearAdd": "Add", "QLinearMul": "Mul", "QLinearAveragePool": "AveragePool", "QLinearConcat": "Concat",
	"QLinearGlobalAveragePool": "GlobalAveragePool", "QLinearLeakyRelu": "LeakyRelu", "QLinearSigmoid": "Sigmoid",
	"QLinearSoftmax": "Softmax", "QLinearWhere": "Where",
}

func byFloatsOf(n *node) (f byFloats, err error) {
	if n.int("channels_last", 0) != 0 {
		return f, n.unsupported("channels that come last")
	}
	f = byFloats{data: []int{0}, scales: []int{1}, scale: 3, zero: 4, out: n.output(0)}
	opset := int64(rewrite.Newest)
	switch n.Op {
	case "QLinearAdd", "QLinearMul":
		f.data, f.scales, f.scale, f.zero = []int{0, 3}, []int{1, 4}, 6, 7
		f.sum = n.Op == "QLinearAdd"
	case "QLinearWhere":
		f.plain, f.data, f.scales, f.scale, f.zero = []int{0}, []int{1, 4}, []int{2, 5}, 7, 8
	case "QLinearConcat":
		f.data, f.scales, f.scale, f.zero = nil, nil, 0, 1
		for i := 2; i < len(n.Inputs); i += 3 {
			f.data, f.scales = append(f.data, i), append(f.scales, i+1)
		}
	case "QLinearSoftmax":
		opset = int64(n.int("opset", 13))
	}
	for _, i := range append(slices.Clone(f.scales), f.scale) {
		if n.input(i) != backends.FP32 {
			return f, n.unsupported("a scale of %v", n.input(i))
		}
	}
	for _, i := range f.data {
		if !isByte(n.input(i)) || n.given(i+2) && n.input(i+2) != n.input(i) {
			return f, n.unsupported("bytes of %v with a zero point of %v", n.input(i), n.input(i+2))
		}
	}
	if !isByte(f.out) || n.given(f.zero) && n.input(f.zero) != f.out {
		return f, n.unsupported("an output of %v with a zero point of %v", f.out, n.input(f.zero))
	}
	f.inner, err = f.float(n, floatOps[n.Op], opset)
	return f, err
}

// float builds the operator in FP32.
func (f byFloats) float(n *node, op string, opset int64) (kernel, error) {
	float := &onnx.Node{Op: op, Name: n.Name, Opset: opset, Attrs: n.Attrs}
	for _, i := range f.plain {
		float.Inputs = append(float.Inputs, n.Inputs[i])
	}
	for _, i := range f.data {
		v := *n.Inputs[i]
		v.Datatype, v.Const, v.Producer = backends.FP32, nil, nil
		float.Inputs = append(float.Inputs, &v)
	}
	out := *n.Outputs[0]
	out.Datatype, out.Producer = backends.FP32, nil
	float.Outputs = []*onnx.Value{&out}
	return standard[op].kernel(&node{Node: float, engine: n.engine})
}

// buildByFloats builds operators on bytes by way of FP32.
func buildByFloats(n *node) (kernel, error) {
	f, err := byFloatsOf(n)
	return f.kernel, err
}

func (f byFloats) kernel(r *run, in, out []*tensor) error {
	var floats []*tensor
	for _, i := range f.plain {
		floats = append(floats, in[i])
	}
	to, err := byteValuesOf(f.out, in[f.scale], optional(in, f.zero))
	if err != nil {
		return err
	}
	for j, i := range f.data {
		of, err := byteValuesOf(in[i].dtype, in[f.scales[j]], optional(in, f.scales[j]+1))
		if err != nil {
			return err
		}
		if f.sum {
			of.scale /= to.scale
		}
		t := r.scratch()
		if err := r.dequantize(t, in[i], of); err != nil {
			return err
		}
		floats = append(floats, t)
	}
	if f.sum {
		to.scale = 1
	}
	result := r.scratch()
	if err := f.inner(r, floats, []*tensor{result}); err != nil {
		return err
	}
	return r.quantize(out[0], result, f.out, to)
}

// byteValues is what bytes stand for.
type byteValues struct {
	kernels.ByteType
	scale float32
}

// byteValuesOf returns what bytes with one scale and one zero point, or none, stand for.
func byteValuesOf(d backends.Datatype, scale, zero *tensor) (byteValues, error) {
	t, err := byteTypeOf(d, scale, zero)
	if err != nil {
		return byteValues{}, err
	}
	return byteValues{t, view[float32](scale)[0]}, nil
}

// dequantize makes t the values of bytes.
func (r *run) dequantize(t, bytes *tensor, of byteValues) error {
	if err := r.makeTensor(t, backends.FP32, bytes.shape); err != nil {
		return err
	}
	dst, src := view[float32](t), bytes.raw
	r.engine.pool.For(len(dst), elementGrain, func(lo, hi int) { of.Dequantize(dst[lo:hi], src[lo:hi], of.scale) })
	return nil
}

// quantize makes t bytes of a type that stand for the values.
func (r *run) quantize(t, values *tensor, d backends.Datatype, of byteValues) error {
	if err := r.makeTensor(t, d, values.shape); err != nil {
		return err
	}
	dst, src := t.raw, view[float32](values)
	r.engine.pool.For(len(dst), elementGrain, func(lo, hi int) { of.Quantize(dst[lo:hi], src[lo:hi], of.scale) })
	return nil
}

// buildByTable builds functions of one byte: each run computes them for all 256.
func buildByTable(n *node) (kernel, error) {
	f, err := byFloatsOf(n)
	return f.byTable, err
}

// everyByte are the bytes in order.
var everyByte = func() []byte {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	return all
}()

func (f byFloats) byTable(r *run, in, out []*tensor) error {
	x := in[f.data[0]]
	if x.len() <= len(everyByte) {
		return f.kernel(r, in, out)
	}
	all := slices.Clone(in)
	all[f.data[0]] = &tensor{dtype: x.dtype, shape: []int{len(everyByte)}, raw: everyByte}
	results := r.scratch()
	if err := f.kernel(r, all, []*tensor{results}); err != nil {
		return err
	}
	if err := r.makeTensor(out[0], f.out, x.shape); err != nil {
		return err
	}
	table, src, dst := [256]byte(results.raw), x.raw, out[0].raw
	r.engine.pool.For(len(src), elementGrain, func(lo, hi int) {
		for i, v := range src[lo:hi] {
			dst[lo+i] = table[v]
		}
	})
	return nil
}

// buildQLinearPair builds sums and products of bytes.
func buildQLinearPair(n *node) (kernel, error) {
	f, err := byFloatsOf(n)
	if err != nil {
		return nil, err
	}
	op := kernels.Add
	if n.Op == "QLinearMul" {
		op = kernels.Mul
	}
	return func(r *run, in, out []*tensor) error {
		a, b := in[0], in[3]
		// Where b repeats in rows of a the parts that are computed together are such rows.
		row := pairRow(a, b)
		if row == 0 {
			return f.kernel(r, in, out)
		}
		return f.pairs(r, in, out[0], op, row)
	}, nil
}

// pairRow returns how many elements of a and b stand beside each other: all, or those of b where
// it repeats; 0 if they stretch in another way.
func pairRow(a, b *tensor) int {
	n := len(b.shape)
	if n > len(a.shape) || !slices.Equal(a.shape[len(a.shape)-n:], b.shape) || b.len() == 0 {
		return 0
	}
	return b.len()
}

// pairs computes a op b part by part, so that the values in between stay in the cache.
func (f byFloats) pairs(r *run, in []*tensor, out *tensor, op kernels.Operator, row int) error {
	var of [3]byteValues
	for i, values := range [][3]*tensor{{in[0], in[1], optional(in, 2)}, {in[3], in[4], optional(in, 5)}, {out, in[6], optional(in, 7)}} {
		d := f.out
		if i < 2 {
			d = values[0].dtype
		}
		var err error
		if of[i], err = byteValuesOf(d, values[1], values[2]); err != nil {
			return err
		}
	}
	if f.sum {
		of[0].scale, of[1].scale, of[2].scale = of[0].scale/of[2].scale, of[1].scale/of[2].scale, 1
	}
	if err := r.makeTensor(out, f.out, in[0].shape); err != nil {
		return err
	}
	const part = 4096
	a, b, dst := in[0].raw, in[3].raw, out.raw
	parts := (row + part - 1) / part
	r.engine.pool.For(len(a)/row*parts, 1+elementGrain/min(row, part), func(lo, hi int) {
		var left, right [part]float32
		for i := lo; i < hi; i++ {
			from := i % parts * part
			to := min(from+part, row)
			at, n := i/parts*row, to-from
			of[0].Dequantize(left[:n], a[at+from:at+to], of[0].scale)
			of[1].Dequantize(right[:n], b[from:to], of[1].scale)
			kernels.Combine(op, left[:n], left[:n], right[:n])
			of[2].Quantize(dst[at+from:at+to], left[:n], of[2].scale)
		}
	})
	return nil
}
