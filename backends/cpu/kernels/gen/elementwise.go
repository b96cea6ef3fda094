package main

import "fmt"

// unary is a function of one value: it sets R0 from R1 and may use R2 to R7 and R10. Constants that
// depend on the activation are loaded to R8 and onwards before the loop.
type unary struct {
	name, doc string
	functions string // the cases of the switch
	prepare   func(v vector)
	body      func(v vector, y, x string)
}

func parameter(v vector, field string, reg int) { v.op("VBROADCASTSS", at(field, "R9"), v.r(reg)) }

var unaries = []unary{
	{"clamp", "sets dst[i] = min(max(src[i], Min), Max).", "Relu, Clip",
		func(v vector) { parameter(v, "Activation_Min", 8); parameter(v, "Activation_Max", 9) },
		func(v vector, y, x string) {
			v.op("VMAXPS", x, v.r(8), y)
			v.op("VMINPS", y, v.r(9), y)
		}},
	{"leakyRelu", "sets dst[i] = x < 0 ? Alpha*x : x.", "LeakyRelu",
		func(v vector) { parameter(v, "Activation_Alpha", 8); v.zeroReg(v.r(9)) },
		func(v vector, y, x string) {
			v.op("VMULPS", x, v.r(8), v.r(2))
			m := v.mask(2, v.r(3))
			v.compare(less, x, v.r(9), m)
			v.choose(m, v.r(2), x, y)
		}},
	{"hardSigmoid", "sets dst[i] = min(max(Alpha*x+Beta, 0), 1).", "HardSigmoid",
		func(v vector) {
			parameter(v, "Activation_Alpha", 8)
			parameter(v, "Activation_Beta", 9)
			v.zeroReg(v.r(10))
		},
		func(v vector, y, x string) {
			v.op("VMULPS", x, v.r(8), y)
			v.op("VADDPS", v.r(9), y, y)
			v.op("VMAXPS", y, v.r(10), y)
			v.atMost(y, 1, v.r(2))
		}},
	{"hardSwish", "sets dst[i] = x * min(max(x/6+0.5, 0), 1).", "HardSwish",
		func(v vector) { v.zeroReg(v.r(10)) },
		func(v vector, y, x string) {
			v.do("VMULPS", v.constant(1.0/6), x, v.r(3))
			v.do("VADDPS", v.constant(0.5), v.r(3), v.r(3))
			v.op("VMAXPS", v.r(3), v.r(10), v.r(3))
			v.atMost(v.r(3), 1, v.r(2))
			v.op("VMULPS", v.r(3), x, y)
		}},
	{"elu", "sets dst[i] = x < 0 ? Alpha*(exp(x)-1) : x.", "Elu",
		func(v vector) { parameter(v, "Activation_Alpha", 8); v.zeroReg(v.r(9)) },
		func(v vector, y, x string) {
			v.expMinus1(x, v.r(10), v.r(2), v.r(3), v.r(4), v.r(5), v.r(6), v.r(7))
			v.op("VMULPS", v.r(8), v.r(10), v.r(10))
			m := v.mask(2, v.r(3))
			v.compare(less, x, v.r(9), m)
			v.choose(m, v.r(10), x, y)
		}},
	{"exp", "sets dst[i] = exp(src[i]).", "Exp", nil,
		func(v vector, y, x string) { v.exp(x, y, v.r(2), v.r(3), v.r(4)) }},
	{"sigmoid", "sets dst[i] = 1/(1+exp(-src[i])).", "Sigmoid", nil,
		func(v vector, y, x string) { v.sigmoid(x, y, v.r(2), v.r(3), v.r(4), v.r(5)) }},
	{"silu", "sets dst[i] = x*sigmoid(x).", "Silu", nil,
		func(v vector, y, x string) { v.silu(x, y, v.r(2), v.r(3), v.r(4), v.r(5)) }},
	{"tanh", "sets dst[i] = tanh(src[i]).", "Tanh", nil,
		func(v vector, y, x string) { v.tanh(x, y, v.r(2), v.r(3), v.r(4), v.r(5), v.r(6)) }},
	{"erf", "sets dst[i] = erf(src[i]).", "Erf", nil,
		func(v vector, y, x string) { v.erf(x, y, v.r(2), v.r(3), v.r(4), v.r(5), v.r(6)) }},
	{"geluErf", "sets dst[i] = x/2*(1+erf(x/sqrt2)).", "GeluErf", nil,
		func(v vector, y, x string) { v.geluErf(x, y, v.r(2), v.r(3), v.r(4), v.r(5), v.r(6), v.r(7)) }},
	{"geluTanh", "sets dst[i] = x*sigmoid(2*sqrt(2/pi)*(x+0.044715*x^3)).", "GeluTanh", nil,
		func(v vector, y, x string) { v.geluTanh(x, y, v.r(2), v.r(3), v.r(4), v.r(5), v.r(6)) }},
	{"sqrt", "sets dst[i] = sqrt(src[i]).", "Sqrt", nil,
		func(v vector, y, x string) { v.op("VSQRTPS", x, y) }},
	{"abs", "sets dst[i] = |src[i]|.", "Abs", nil,
		func(v vector, y, x string) { v.abs(x, y) }},
	{"neg", "sets dst[i] = -src[i].", "Neg", nil,
		func(v vector, y, x string) { v.do("VXORPS", v.bits(signBit), x, y) }},
	{"reciprocal", "sets dst[i] = 1/src[i].", "Reciprocal",
		func(v vector) { v.set(1, v.r(8)) },
		func(v vector, y, x string) { v.op("VDIVPS", x, v.r(8), y) }},
	{"square", "sets dst[i] = src[i]*src[i].", "Square", nil,
		func(v vector, y, x string) { v.op("VMULPS", x, x, y) }},
}

// binary is an operator on two values.
type binary struct {
	name, operator string
	body           func(v vector, y, a, b string)
}

func plain(instruction string) func(v vector, y, a, b string) {
	return func(v vector, y, a, b string) { v.op(instruction, b, a, y) }
}

// keepingNaN gives b where it is NaN, as the instruction does, and a where that is. It uses R10
// and R11.
func keepingNaN(instruction string) func(v vector, y, a, b string) {
	return func(v vector, y, a, b string) {
		m := v.mask(2, v.r(10))
		v.compare(unordered, a, a, m)
		v.op(instruction, b, a, v.r(11))
		v.choose(m, a, v.r(11), y)
	}
}

var binaries = []binary{
	{"add", "Add", plain("VADDPS")},
	{"sub", "Sub", plain("VSUBPS")},
	{"mul", "Mul", plain("VMULPS")},
	{"div", "Div", plain("VDIVPS")},
	{"max", "Max", keepingNaN("VMAXPS")},
	{"min", "Min", keepingNaN("VMINPS")},
}

func elementwise(f *file) {
	f.maskTable("elementwiseMask")
	for _, i := range []isa{avx2, avx512} {
		v := vector{f, i}
		for _, u := range unaries {
			u.write(v)
		}
		for _, b := range binaries {
			b.write(v)
		}
		unarySwitch(v)
		binarySwitch(v)
	}
}

func (u unary) write(v vector) {
	v.function(u.name+v.isa.name, u.doc, "dst *float32", "src *float32", "n int", "a *Activation")
	v.op("MOVQ", "dst+0(FP)", "DI")
	v.op("MOVQ", "src+8(FP)", "SI")
	v.op("MOVQ", "n+16(FP)", "CX")
	if u.prepare != nil {
		v.op("MOVQ", "a+24(FP)", "R9")
		u.prepare(v)
	}
	v.loop("elementwiseMask", func(l lanes) {
		l.load("SI", v.r(1))
		u.body(v, v.r(0), v.r(1))
		l.store(v.r(0), "DI")
		l.advance("DI", "SI")
	})
	v.ret()
}

func (b binary) write(v vector) {
	v.function(b.name+v.isa.name, fmt.Sprintf("sets dst[i] = a[i] %s b[i]; a and b advance by their steps, in bytes, after each vector.", b.name),
		"dst *float32", "a *float32", "b *float32", "n int", "stepA int", "stepB int")
	v.op("MOVQ", "dst+0(FP)", "DI")
	v.op("MOVQ", "a+8(FP)", "SI")
	v.op("MOVQ", "b+16(FP)", "DX")
	v.op("MOVQ", "n+24(FP)", "CX")
	v.op("MOVQ", "stepA+32(FP)", "R8")
	v.op("MOVQ", "stepB+40(FP)", "R9")
	v.loop("elementwiseMask", func(l lanes) {
		l.load("SI", v.r(1))
		l.load("DX", v.r(2))
		b.body(v, v.r(0), v.r(1), v.r(2))
		l.store(v.r(0), "DI")
		l.advance("DI")
		v.op("ADDQ", "R8", "SI")
		v.op("ADDQ", "R9", "DX")
	})
	v.ret()
}

// lanes is how many values of a vector count: all, or those of a mask.
type lanes struct {
	vector
	masked bool
}

// loop writes body for all whole vectors of CX values, then once more for the rest, if any. AX is
// used; the mask is K1, or the last register of AVX2.
func (v vector) loop(table string, body func(l lanes)) {
	loop, rest, done := v.label("loop"), v.label("rest"), v.label("done")
	v.op("SUBQ", v.isa.width, "CX")
	v.op("JLT", rest)
	v.place(loop)
	body(lanes{v, false})
	v.op("SUBQ", v.isa.width, "CX")
	v.op("JGE", loop)
	v.place(rest)
	v.op("ADDQ", v.isa.width, "CX")
	v.op("JZ", done)
	v.tailMask(table)
	body(lanes{v, true})
	v.place(done)
}

// tailMask makes the mask of CX values.
func (v vector) tailMask(table string) {
	if v.isa == avx512 {
		v.op("MOVL", 1, "AX")
		v.op("SHLL", "CX", "AX")
		v.op("DECL", "AX")
		v.op("KMOVW", "AX", "K1")
		return
	}
	v.op("LEAQ", table+"<>+64(SB)", "AX")
	v.op("SHLQ", 2, "CX")
	v.op("SUBQ", "CX", "AX")
	v.op("VMOVUPS", "(AX)", v.r(15))
}

// load reads a vector, with zeros in the lanes that do not count.
func (l lanes) load(from, reg string) { l.loadAt(0, from, reg) }

func (l lanes) store(reg, to string) { l.storeAt(reg, 0, to) }

// loadAt is load from so many bytes behind from.
func (l lanes) loadAt(offset int, from, reg string) {
	switch {
	case !l.masked:
		l.op("VMOVUPS", at(offset, from), reg)
	case l.isa == avx512:
		l.op("VMOVUPS.Z", at(offset, from), "K1", reg)
	default:
		l.op("VMASKMOVPS", at(offset, from), l.r(15), reg)
	}
}

func (l lanes) storeAt(reg string, offset int, to string) {
	switch {
	case !l.masked:
		l.op("VMOVUPS", reg, at(offset, to))
	case l.isa == avx512:
		l.op("VMOVUPS", reg, "K1", at(offset, to))
	default:
		l.op("VMASKMOVPS", reg, l.r(15), at(offset, to))
	}
}

func (l lanes) advance(pointers ...string) {
	if l.masked {
		return
	}
	for _, p := range pointers {
		l.op("ADDQ", 4*l.isa.width, p)
	}
}

func unarySwitch(v vector) {
	fmt.Fprintf(&v.stubs, "\n// apply%s sets dst[i] = a(src[i]) and reports whether there is a kernel for it.\n", v.isa.name)
	fmt.Fprintf(&v.stubs, "func apply%s(dst, src *float32, n int, a *Activation) bool {\n\tswitch a.Function {\n", v.isa.name)
	for _, u := range unaries {
		fmt.Fprintf(&v.stubs, "\tcase %s:\n\t\t%s%s(dst, src, n, a)\n", u.functions, u.name, v.isa.name)
	}
	v.stubs.WriteString("\tdefault:\n\t\treturn false\n\t}\n\treturn true\n}\n")
}

func binarySwitch(v vector) {
	fmt.Fprintf(&v.stubs, "\n// combine%s sets dst[i] = a[i] op b[i].\n", v.isa.name)
	fmt.Fprintf(&v.stubs, "func combine%s(op Operator, dst, a, b *float32, n, stepA, stepB int) {\n\tswitch op {\n", v.isa.name)
	for _, b := range binaries {
		fmt.Fprintf(&v.stubs, "\tcase %s:\n\t\t%s%s(dst, a, b, n, stepA, stepB)\n", b.operator, b.name, v.isa.name)
	}
	v.stubs.WriteString("\t}\n}\n")
}
