package lower

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cuda/kernels"
)

// interpreter runs programs as their documentation says, slowly, in double precision.
type interpreter struct{ memory map[*Buffer][]float64 }

// interpret runs p and returns its outputs.
func interpret(p *Program, inputs []backends.Tensor) []backends.Tensor {
	m := interpreter{map[*Buffer][]float64{}}
	for i, t := range p.Inputs {
		m.memory[t.Buffer] = decode(inputs[i].Data, t.Type)
	}
	for _, o := range p.Ops {
		m.do(o)
	}
	var out []backends.Tensor
	for i, t := range p.Outputs {
		answer := backends.Tensor{Datatype: t.Type, Shape: t.Shape, Data: encode(m.read(t), t.Type)}
		if names := p.Names[i]; names != nil {
			answer.Datatype, answer.Data = backends.Bytes, nil
			for _, class := range m.read(t) {
				answer.Data = binary.LittleEndian.AppendUint32(answer.Data, uint32(len(names[int(class)])))
				answer.Data = append(answer.Data, names[int(class)]...)
			}
		}
		out = append(out, answer)
	}
	return out
}

func decode(data []byte, d backends.Datatype) []float64 {
	var all []float64
	for width := d.Size(); len(data) >= width; data = data[width:] {
		switch d {
		case backends.Bool, backends.Uint8:
			all = append(all, float64(data[0]))
		case backends.Int8:
			all = append(all, float64(int8(data[0])))
		case backends.Int32:
			all = append(all, float64(int32(binary.LittleEndian.Uint32(data))))
		case backends.Int64:
			all = append(all, float64(int64(binary.LittleEndian.Uint64(data))))
		default:
			all = append(all, float64(number(data, d)))
		}
	}
	return all
}

func encode(all []float64, d backends.Datatype) []byte {
	var data []byte
	for _, v := range all {
		switch d {
		case backends.Bool, backends.Uint8, backends.Int8:
			data = append(data, byte(int64(v)))
		case backends.Int32:
			data = binary.LittleEndian.AppendUint32(data, uint32(int64(v)))
		case backends.Int64:
			data = binary.LittleEndian.AppendUint64(data, uint64(int64(v)))
		default:
			data = appendNumber(data, float32(v), d)
		}
	}
	return data
}

func (m interpreter) of(t Tensor) []float64 {
	mem, ok := m.memory[t.Buffer]
	if !ok && t.Buffer.Weight != nil {
		data := t.Buffer.Weight.Data()
		if int64(len(data)) != t.Buffer.Bytes {
			panic(fmt.Sprintf("weight %q has %d bytes, not %d", t.Buffer.Weight.Key, len(data), t.Buffer.Bytes))
		}
		mem = decode(data, t.Type)
		m.memory[t.Buffer] = mem
	} else if !ok {
		mem = make([]float64, t.Buffer.Bytes/int64(t.Type.Size()))
		for i := range mem {
			mem[i] = math.NaN()
		}
		m.memory[t.Buffer] = mem
	}
	return mem
}

// places returns where the elements of t lie, in order.
func places(t Tensor) []int64 {
	at := []int64{t.Offset}
	for i, n := range t.Shape {
		var next []int64
		for _, a := range at {
			for k := range n {
				next = append(next, a+k*t.Strides[i])
			}
		}
		at = next
	}
	return at
}

func (m interpreter) read(t Tensor) []float64 {
	if !t.Given() {
		return nil
	}
	mem, at := m.of(t), places(t)
	all := make([]float64, len(at))
	for i, a := range at {
		all[i] = mem[a]
	}
	return all
}

func (m interpreter) write(t Tensor, all []float64) {
	mem := m.of(t)
	for i, a := range places(t) {
		v := all[i]
		switch {
		case !isFloat(t.Type):
			v = math.Trunc(v)
		case t.Type == backends.FP16, t.Type == backends.BF16:
			v = decode(encode([]float64{v}, t.Type), t.Type)[0]
		}
		mem[a] = v
	}
}

func (m interpreter) do(o *Op) {
	in := make([][]float64, len(o.In))
	for i, t := range o.In {
		in[i] = m.read(t)
	}
	if k, ok := o.Kind.(Lookup); ok {
		m.lookup(k, o, in)
		return
	}
	out := o.Out[0]
	y := make([]float64, out.Elements())
	switch k := o.Kind.(type) {
	case Map:
		for i := range y {
			y[i] = compute(k, func(j int) float64 { return in[j][i] })
			if k == (Map{}) && out.Type == backends.Bool && y[i] != 0 {
				y[i] = 1
			}
		}
	case Gemm:
		gemm(k, o, in, y)
	case Conv:
		convolve(k, o, in, y, 0)
		for i, sum := range y {
			y[i] = finish(sum, k.Activation, k.After, in, i, i%int(out.Shape[3]))
		}
	case Pool:
		pool(k, o, in[0], y)
	case Attention:
		attend(k, o, in, y)
	case Norm:
		n := int(o.In[0].Shape[1])
		for i := range in[0] {
			if in[3] != nil {
				in[0][i] += in[3][i%len(in[3])]
			}
		}
		if len(o.Out) > 1 {
			m.write(o.Out[1], in[0])
		}
		for r := 0; r < len(y); r += n {
			normalise(k, y[r:r+n], in[0][r:r+n], in[1], in[2])
		}
	case Chain:
		for i := range y {
			y[i] = chained(k, in, i)
		}
	case Softmax:
		n := int(out.Shape[1])
		for r := 0; r < len(y); r += n {
			softmax(y[r:r+n], in[0][r:r+n], k.Log)
		}
	case Reduce:
		reduce(k.Function, o.In[0].Shape, in[0], y)
	case ArgReduce:
		argReduce(k, o.In[0].Shape, in[0], y)
	case Gather:
		s, count := o.In[0].Shape, o.In[1].Shape[0]
		for i := range y {
			inner, c, outer := int64(i)%s[2], int64(i)/s[2]%count, int64(i)/s[2]/count
			row := int64(in[1][c])
			if row < 0 {
				row += s[1]
			}
			y[i] = in[0][(outer*s[1]+row)*s[2]+inner]
		}
	case Quantize, Dequantize:
		affine(o, in, y)
	case GemmInteger:
		n, depth := int(out.Shape[3]), int(o.In[0].Shape[3])
		for i := range y {
			for e := range depth {
				y[i] += in[0][i/n*depth+e] * in[1][i%n*depth+e]
			}
		}
		requantise(k.Requantized, o, in, y)
	case ConvInteger:
		convolve(Conv{Window: k.Window, Groups: k.Groups, Depthwise: k.Depthwise}, o, in, y, float64(k.Pad))
		requantise(k.Requantized, o, in, y)
	case Trees:
		m.trees(k, o, in, y)
	default:
		panic(o.Name())
	}
	m.write(out, y)
}

func (m interpreter) lookup(k Lookup, o *Op, in [][]float64) {
	for t, out := range o.Out {
		table, indices := in[2*t], in[2*t+1]
		rows, width, length := int(o.In[2*t].Shape[0]), int(out.Shape[1]), int(o.In[2*t+1].Shape[1])
		y := make([]float64, out.Elements())
		for i := range y {
			for j := range length {
				row := int(indices[i/width*length+j])
				if row < 0 {
					row += rows
				}
				y[i] += table[row*width+i%width]
			}
			if k.Mean {
				y[i] /= float64(length)
			}
		}
		m.write(out, y)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func compute(m Map, x func(int) float64) float64 {
	a := x(0)
	switch m.Function {
	case "":
		return a
	case "Abs":
		return math.Abs(a)
	case "Acos":
		return math.Acos(a)
	case "Asin":
		return math.Asin(a)
	case "Atan":
		return math.Atan(a)
	case "Ceil":
		return math.Ceil(a)
	case "Clip":
		return math.Min(math.Max(a, float64(m.Alpha)), float64(m.Beta))
	case "Cos":
		return math.Cos(a)
	case "Dequantize":
		return (a - float64(m.Beta)) * float64(m.Alpha)
	case "Quantize":
		return math.RoundToEven(a/float64(m.Alpha)) + float64(m.Beta)
	case "Elu":
		if a < 0 {
			return float64(m.Alpha) * math.Expm1(a)
		}
		return a
	case "Erf":
		return math.Erf(a)
	case "Exp":
		return math.Exp(a)
	case "Floor":
		return math.Floor(a)
	case "Gelu":
		return a / 2 * (1 + math.Erf(a/math.Sqrt2))
	case "GeluTanh":
		return a / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(a+0.044715*a*a*a)))
	case "HardSigmoid":
		return math.Max(0, math.Min(1, float64(m.Alpha)*a+float64(m.Beta)))
	case "HardSwish":
		return a * math.Max(0, math.Min(1, a/6+0.5))
	case "IsNaN":
		return truth(a != a)
	case "LeakyRelu":
		if a < 0 {
			return float64(m.Alpha) * a
		}
		return a
	case "Log":
		return math.Log(a)
	case "Neg":
		return -a
	case "Not":
		return 1 - a
	case "Reciprocal":
		return 1 / a
	case "Relu":
		return math.Max(a, 0)
	case "Round":
		return math.RoundToEven(a)
	case "Sigmoid":
		return 1 / (1 + math.Exp(-a))
	case "Sign":
		return truth(a > 0) - truth(a < 0)
	case "Sin":
		return math.Sin(a)
	case "Softplus":
		return math.Log1p(math.Exp(a))
	case "Sqrt":
		return math.Sqrt(a)
	case "Swish":
		return a / (1 + math.Exp(-a))
	case "Tanh":
		return math.Tanh(a)
	}
	b := x(1)
	switch m.Function {
	case "Add":
		return a + b
	case "And":
		return a * b
	case "Div":
		return a / b
	case "Equal":
		return truth(a == b)
	case "Greater":
		return truth(a > b)
	case "GreaterOrEqual":
		return truth(a >= b)
	case "Less":
		return truth(a < b)
	case "LessOrEqual":
		return truth(a <= b)
	case "Max":
		return math.Max(a, b)
	case "Min":
		return math.Min(a, b)
	case "Mul":
		return a * b
	case "Or":
		return math.Max(a, b)
	case "PRelu":
		if a < 0 {
			return a * b
		}
		return a
	case "Pow":
		return math.Pow(a, b)
	case "Sub":
		return a - b
	case "Xor":
		return truth(a != b)
	case "Where":
		if a != 0 {
			return b
		}
		return x(2)
	}
	panic(m.Function)
}

// finish is the epilogue of element i, of column n.
func finish(sum float64, a Activation, after bool, in [][]float64, i, n int) float64 {
	if in[2] != nil {
		sum += in[2][n]
	}
	if in[3] != nil && after {
		sum += in[3][i]
	}
	if a.Function != "" {
		sum = compute(Map(a), func(int) float64 { return sum })
	}
	if in[3] != nil && !after {
		sum += in[3][i]
	}
	return sum
}

func gemm(g Gemm, o *Op, in [][]float64, y []float64) {
	s, k := o.Out[0].Shape, int(o.In[0].Shape[3])
	m, n := int(s[2]), int(s[3])
	for i := range y {
		c, r, b := i%n, i/n%m, i/n/m
		sum := 0.0
		for e := range k {
			sum += in[0][(b*m+r)*k+e] * in[1][(b*k+e)*n+c]
		}
		y[i] = finish(float64(g.Alpha)*sum, g.Activation, g.After, in, i, c)
	}
}

// taps calls f with the place in images [n, h, w] of each tap of the window at (p, q), -1 where it is outside.
func taps(w Window, shape []int64, n, p, q int64, f func(tap, at int64)) {
	for r := range w.Size[0] {
		for s := range w.Size[1] {
			y, x := p*w.Stride[0]-w.Pad[0]+r*w.Dilation[0], q*w.Stride[1]-w.Pad[1]+s*w.Dilation[1]
			at := int64(-1)
			if y >= 0 && x >= 0 && y < shape[1] && x < shape[2] {
				at = (n*shape[1]+y)*shape[2] + x
			}
			f(r*w.Size[1]+s, at)
		}
	}
}

// convolve computes the sums of a convolution of images that are pad where there are none.
func convolve(k Conv, o *Op, in [][]float64, y []float64, pad float64) {
	s, x := o.Out[0].Shape, o.In[0].Shape
	perGroup, per := x[3]/k.Groups, s[3]/k.Groups
	for i := range y {
		c, q, p, n := int64(i)%s[3], int64(i)/s[3]%s[2], int64(i)/s[3]/s[2]%s[1], int64(i)/s[3]/s[2]/s[1]
		taps(k.Window, x, n, p, q, func(tap, at int64) {
			for e := range perGroup {
				w, v := (c*k.Window.Size[0]*k.Window.Size[1]+tap)*perGroup+e, pad
				if k.Depthwise {
					w = tap*s[3] + c
				}
				if at >= 0 {
					v = in[0][at*x[3]+c/per*perGroup+e]
				}
				y[i] += v * in[1][w]
			}
		})
	}
}

// requantise does to sums of products of bytes what r says.
func requantise(r Requantized, o *Op, in [][]float64, y []float64) {
	n := int(o.Out[0].Shape[3])
	for i, sum := range y {
		if sum != math.Trunc(sum) {
			panic("a sum of bytes is no integer")
		}
		extra := [][]float64{2: {in[3][i%n]}, 3: nil}
		if o.In[4].Given() {
			v := in[4][i]
			if !isFloat(o.In[4].Type) {
				v = (v - float64(r.ResidualZero)) * float64(r.ResidualScale)
			}
			extra[3] = []float64{v}
		}
		y[i] = finish(sum*in[2][i%n], r.Activation, r.After, extra, 0, 0)
		if !isFloat(o.Out[0].Type) {
			y[i] = saturate(o.Out[0].Type, math.RoundToEven(y[i]/float64(r.Scale))+float64(r.Zero))
		}
	}
}

func saturate(d backends.Datatype, v float64) float64 {
	if d == backends.Int8 {
		return math.Min(math.Max(v, -128), 127)
	}
	return math.Min(math.Max(v, 0), 255)
}

// chained computes element i of a chain.
func chained(k Chain, in [][]float64, i int) float64 {
	var places [kernels.ByBeta + 1]float64
	for at := range places {
		places[at] = math.NaN()
	}
	for at, operand := range in {
		places[at] = operand[i]
	}
	for _, s := range k.Steps {
		places[kernels.ByAlpha], places[kernels.ByBeta] = float64(s.Alpha), float64(s.Beta)
		v := compute(Map{s.Function, s.Alpha, s.Beta}, func(j int) float64 { return places[s.From[j]] })
		places[kernels.Result] = v
		if s.To < kernels.Registers {
			places[s.To] = v
		}
	}
	return places[kernels.Result]
}

func pool(k Pool, o *Op, in, y []float64) {
	s, x := o.Out[0].Shape, o.In[0].Shape
	for i := range y {
		c, q, p, n := int64(i)%s[3], int64(i)/s[3]%s[2], int64(i)/s[3]/s[2]%s[1], int64(i)/s[3]/s[2]/s[1]
		most, sum, count := math.Inf(-1), 0.0, 0.0
		taps(k.Window, x, n, p, q, func(tap, at int64) {
			if at >= 0 {
				v := in[at*x[3]+c]
				if k.From.Scale != 0 {
					v = (v - float64(k.From.Zero)) * float64(k.From.Scale)
				}
				most, sum, count = math.Max(most, v), sum+v, count+1
				return
			}
			yy, xx := p*k.Window.Stride[0]+tap/k.Window.Size[1]*k.Window.Dilation[0], q*k.Window.Stride[1]+tap%k.Window.Size[1]*k.Window.Dilation[1]
			if k.CountPadding && yy < x[1]+k.Window.Pad[0]+k.Window.PadEnd[0] && xx < x[2]+k.Window.Pad[1]+k.Window.PadEnd[1] {
				count++
			}
		})
		if y[i] = most; k.Average {
			y[i] = sum / count
		}
		if k.To.Scale != 0 {
			y[i] = saturate(o.Out[0].Type, math.RoundToEven(y[i]/float64(k.To.Scale))+float64(k.To.Zero))
		}
	}
}

func attend(k Attention, o *Op, in [][]float64, y []float64) {
	q := o.In[0].Shape
	t, d := int(o.In[1].Shape[2]), int(q[3])
	mask := in[3]
	if o.In[3].Given() {
		o.In[3] = o.In[3].expand([]int64{q[0], q[1], q[2], int64(t)})
	}
	for row := range len(y) / d {
		head := row / int(q[2])
		scores := make([]float64, t)
		for j := range scores {
			for e := range d {
				scores[j] += float64(k.Scale) * in[0][row*d+e] * in[1][(head*t+j)*d+e]
			}
			if mask != nil {
				scores[j] += mask[row*t+j]
			}
		}
		softmax(scores, scores, false)
		for j, p := range scores {
			for e := range d {
				y[row*d+e] += p * in[2][(head*t+j)*d+e]
			}
		}
	}
}

func softmax(y, x []float64, logarithm bool) {
	most, sum := math.Inf(-1), 0.0
	for _, v := range x {
		most = math.Max(most, v)
	}
	for _, v := range x {
		sum += math.Exp(v - most)
	}
	for i, v := range x {
		if y[i] = math.Exp(v-most) / sum; logarithm {
			y[i] = v - most - math.Log(sum)
		}
	}
}

func normalise(k Norm, y, x, weight, bias []float64) {
	mean, squares := 0.0, 0.0
	for _, v := range x {
		mean += v / float64(len(x))
	}
	if k.RootMeanSquare {
		mean = 0
	}
	for _, v := range x {
		squares += (v - mean) * (v - mean) / float64(len(x))
	}
	for i, v := range x {
		y[i] = (v - mean) / math.Sqrt(squares+float64(k.Epsilon)) * weight[i]
		if bias != nil {
			y[i] += bias[i]
		}
	}
}

func reduce(function string, s []int64, x, y []float64) {
	for i := range y {
		inner, outer := int64(i)%s[2], int64(i)/s[2]
		sum, most, least := 0.0, math.Inf(-1), math.Inf(1)
		for k := range s[1] {
			v := x[(outer*s[1]+k)*s[2]+inner]
			sum, most, least = sum+v, math.Max(most, v), math.Min(least, v)
		}
		y[i] = map[string]float64{"Sum": sum, "Mean": sum / float64(s[1]), "Max": most, "Min": least}[function]
	}
}

func argReduce(k ArgReduce, s []int64, x, y []float64) {
	for i := range y {
		inner, outer := int64(i)%s[2], int64(i)/s[2]
		best := math.Inf(-1)
		for j := range s[1] {
			v := x[(outer*s[1]+j)*s[2]+inner]
			if k.Smallest {
				v = -v
			}
			if v > best || k.Last && v == best {
				best, y[i] = v, float64(j)
			}
		}
	}
}

func affine(o *Op, in [][]float64, y []float64) {
	s := o.In[0].Shape
	for i := range y {
		n, zero := int64(i)/s[2]%s[1], 0.0
		if in[2] != nil {
			zero = in[2][n]
		}
		if o.Name() == "Dequantize" {
			y[i] = (in[0][i] - zero) * in[1][n]
			continue
		}
		y[i] = saturate(o.Out[0].Type, math.RoundToEven(in[0][i]/in[1][n])+zero)
	}
}

func (m interpreter) trees(k Trees, o *Op, in [][]float64, y []float64) {
	nodes, columns, targets := o.In[1].Buffer.Weight.Data(), int(o.In[0].Shape[1]), int(o.Out[0].Shape[1])
	roots, ends, ids, weights := in[2], in[3], in[4], in[5]
	for r := range len(y) / targets {
		spoken := map[int]bool{}
		for _, root := range roots {
			at := int32(root)
			for at >= 0 {
				b := nodes[int(at)*kernels.TreeNodeSize:]
				head, limit := binary.LittleEndian.Uint32(b), float64(math.Float32frombits(binary.LittleEndian.Uint32(b[4:])))
				v := in[0][r*columns+int(head&(1<<28-1))]
				yes := []bool{v <= limit, v < limit, v >= limit, v > limit, v == limit, v != limit}[head>>28&7] || v != v && head>>31 != 0
				if yes {
					at = int32(binary.LittleEndian.Uint32(b[8:]))
				} else {
					at = int32(binary.LittleEndian.Uint32(b[12:]))
				}
			}
			from := 0
			if leaf := int(^at); leaf > 0 {
				from = int(ends[leaf-1])
			}
			for w := from; w < int(ends[^at]); w++ {
				y[r*targets+int(ids[w])] += weights[w]
				spoken[int(ids[w])] = true
			}
		}
		for t := range targets {
			switch score := &y[r*targets+t]; {
			case !spoken[t]:
				*score = float64(k.Absent)
			case k.Aggregate == "AVERAGE":
				*score /= float64(k.Count)
			}
		}
	}
}
