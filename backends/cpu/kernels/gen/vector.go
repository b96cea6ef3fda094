package main

import (
	"fmt"
	"strings"
)

// vector writes elementwise arithmetic on the registers of one instruction set. Operands are
// registers or constants; only the first may be a constant.
type vector struct {
	*file
	isa isa
}

func (v vector) r(n int) string { return v.isa.reg(n) }

// do writes an instruction whose first operand may be a constant.
func (v vector) do(name string, operands ...any) {
	if c, ok := operands[0].(string); ok && v.replicated(c) {
		name += ".BCST"
	}
	v.op(name, operands...)
}

// replicated reports whether an operand is a constant that is shorter than a register.
func (v vector) replicated(operand string) bool {
	return v.isa == avx512 && strings.HasPrefix(operand, "constant")
}

// set fills a register with a value.
func (v vector) set(value float32, reg string) { v.op("VBROADCASTSS", v.constant(value), reg) }

// mask is where a comparison leaves its result: a mask register or, in AVX2, a vector register.
func (v vector) mask(n int, reg string) string {
	if v.isa == avx512 {
		return fmt.Sprintf("K%d", n)
	}
	return reg
}

// The comparisons.
const (
	less      = 17 // false for NaN
	unordered = 3
)

// compare sets mask where a (a register) compares to b.
func (v vector) compare(how int, a string, b any, mask string) {
	name := "VCMPPS"
	if c, ok := b.(string); ok && v.replicated(c) {
		name += ".BCST"
	}
	v.op(name, how, b, a, mask)
}

// choose sets dst to yes where mask is set, to no elsewhere. no is a register.
func (v vector) choose(mask string, yes any, no, dst string) {
	if v.isa == avx512 {
		v.do("VBLENDMPS", yes, no, mask, dst)
		return
	}
	v.op("VBLENDVPS", mask, yes, no, dst)
}

// atLeast sets x to max(x, lo) and atMost to min(x, hi); a NaN in x stays. temp is overwritten.
func (v vector) atLeast(x string, lo float32, temp string) {
	v.set(lo, temp)
	v.op("VMAXPS", x, temp, x)
}

func (v vector) atMost(x string, hi float32, temp string) {
	v.set(hi, temp)
	v.op("VMINPS", x, temp, x)
}

const (
	signBit = 0x80000000
	allBut  = 0x7fffffff
)

func (v vector) abs(x, dst string) { v.do("VANDPS", v.bits(allBut), x, dst) }

// horner sets p to the polynomial of x with the coefficients, the constant term first.
func (v vector) horner(x, p string, coefficients ...float32) {
	last := len(coefficients) - 1
	v.set(coefficients[last], p)
	for i := last - 1; i >= 0; i-- {
		v.do("VFMADD213PS", v.constant(coefficients[i]), x, p)
	}
}

// exp sets y to exp(x) and uses a, b and c. With x = n ln2 + r it is 2^n times a polynomial of r;
// 2^n is applied in two steps as n may go beyond the exponents of normal values.
func (v vector) exp(x, y, a, b, c string) {
	v.set(-104.5, a)
	v.op("VMAXPS", x, a, y)
	v.atMost(y, 89, a)
	v.do("VMULPS", v.constant(1.4426950408889634), y, a)
	v.op("VCVTPS2DQ", a, a)
	v.op("VCVTDQ2PS", a, b)
	v.do("VFNMADD231PS", v.constant(ln2High), b, y)
	v.do("VFNMADD231PS", v.constant(ln2Low), b, y)
	v.horner(y, c, 1, 1, 0.5, 0.16666512, 0.041666187, 0.0083695985, 0.0013951717)
	if v.isa == avx512 {
		v.op("VSCALEFPS", b, c, y)
		return
	}
	v.op("VPSRAD", 1, a, b)
	v.op("VPSUBD", b, a, a)
	for _, n := range []string{b, a} {
		v.op("VPADDD", v.bits(127), n, n)
		v.op("VPSLLD", 23, n, n)
		v.op("VMULPS", n, c, c)
	}
	v.op("VMOVAPS", c, y)
}

// ln2 in two parts, the first with so few bits that its products with n are exact.
const (
	ln2High = 0.693359375
	ln2Low  = -2.12194440e-4
)

// sigmoid sets y to numerator/(1+exp(-|x|)) where numerator is 1 or, for negative x, exp(-|x|),
// which does not cancel. It uses a, b, c and d.
func (v vector) sigmoid(x, y, a, b, c, d string) {
	v.do("VORPS", v.bits(signBit), x, d)
	v.exp(d, y, a, b, c)
	v.do("VADDPS", v.constant(1), y, a)
	m := v.mask(2, b)
	v.zeroReg(c)
	v.compare(less, x, c, m)
	v.set(1, c)
	v.choose(m, y, c, d)
	v.op("VDIVPS", a, d, y)
}

func (v vector) zeroReg(reg string) { v.isa.zero(v.file, reg) }

// tanh sets y to tanh(x) and uses a to e: an odd polynomial near zero, 1-2/(exp(2|x|)+1) beyond.
func (v vector) tanh(x, y, a, b, c, d, e string) {
	v.abs(x, d)
	v.op("VADDPS", d, d, e)
	v.atMost(e, 40, a)
	v.exp(e, y, a, b, c)
	v.do("VADDPS", v.constant(1), y, y)
	v.set(2, a)
	v.op("VDIVPS", y, a, y)
	v.set(1, a)
	v.op("VSUBPS", y, a, y)
	v.copySign(x, y, a)
	v.op("VMULPS", x, x, a)
	v.horner(a, b, -0.33333325, 0.13332996, -0.053922124, 0.021575838, -0.007892183, 0.0019017993)
	v.op("VMULPS", a, b, b)
	v.op("VFMADD213PS", x, x, b)
	m := v.mask(2, c)
	v.compare(less, d, v.constant(0.625), m)
	v.choose(m, b, y, y)
}

// expMinus1 sets y to exp(x)-1 for negative x and uses a to f: with t = tanh(x/2) it is 2t/(1-t),
// which does not cancel near zero.
func (v vector) expMinus1(x, y, a, b, c, d, e, f string) {
	v.do("VMULPS", v.constant(0.5), x, f)
	v.tanh(f, y, a, b, c, d, e)
	v.set(1, a)
	v.op("VSUBPS", y, a, a)
	v.op("VADDPS", y, y, y)
	v.op("VDIVPS", a, y, y)
}

// copySign gives y, which is not negative, the sign of x.
func (v vector) copySign(x, y, a string) {
	v.do("VANDPS", v.bits(signBit), x, a)
	v.op("VORPS", a, y, y)
}

// erfc sets y to erfc(t) for t >= 0.9 and uses a to d; t may not be y. It is exp(h(t) - t*t) with
// h = log(exp(t*t) erfc(t)), which varies slowly.
func (v vector) erfc(t, y, a, b, c, d string) {
	v.set(10.5, a)
	v.op("VMINPS", t, a, d)
	v.horner(d, y, -9.0367082e-05, -1.1286383, 0.36567417, -0.10806224, 0.025546964, -0.0045839665, 0.00060006295,
		-5.4907097e-05, 3.3029093e-06, -1.1678859e-07, 1.8334152e-09)
	v.op("VFNMADD231PS", d, d, y)
	v.exp(y, y, a, b, c)
}

// erfNear sets y to erf(x)-x for |x| < 1 and uses a.
func (v vector) erfNear(x, y, a string) {
	v.op("VMULPS", x, x, a)
	v.horner(a, y, 0.12837917, -0.37612626, 0.112836, -0.026854444, 0.005189535, -0.0008020841, 7.889119e-05)
	v.op("VMULPS", x, y, y)
}

// erfSplit is where erf changes from a polynomial to 1-erfc.
const erfSplit = 0.92

// erf sets y to erf(x) and uses a to e.
func (v vector) erf(x, y, a, b, c, d, e string) {
	v.abs(x, e)
	v.erfc(e, y, a, b, c, d)
	v.set(1, a)
	v.op("VSUBPS", y, a, y)
	v.copySign(x, y, a)
	v.erfNear(x, b, a)
	v.op("VADDPS", x, b, b)
	m := v.mask(2, c)
	v.compare(less, e, v.constant(erfSplit), m)
	v.choose(m, b, y, y)
}

// geluErf sets y to x/2*(1+erf(x/sqrt2)) and uses a to f. For negative x, 1+erf is erfc, which
// does not cancel.
func (v vector) geluErf(x, y, a, b, c, d, e, f string) {
	v.do("VMULPS", v.constant(0.70710678), x, f)
	v.abs(f, e)
	v.erfc(e, y, a, b, c, d)
	v.set(2, a)
	v.op("VSUBPS", y, a, b)
	v.zeroReg(a)
	m := v.mask(2, c)
	v.compare(less, x, a, m)
	v.choose(m, y, b, y)
	v.erfNear(f, b, a)
	v.op("VADDPS", f, b, b)
	v.do("VADDPS", v.constant(1), b, b)
	m = v.mask(2, c)
	v.compare(less, e, v.constant(erfSplit), m)
	v.choose(m, b, y, y)
	v.finite(x, f, a)
	v.do("VMULPS", v.constant(0.5), f, f)
	v.op("VMULPS", f, y, y)
}

// finite sets y to x, which is bounded from below where its factor is zero anyway: -Inf*0 is NaN.
func (v vector) finite(x, y, a string) {
	v.set(-200, a)
	v.op("VMAXPS", x, a, y)
}

// silu sets y to x*sigmoid(x) and uses a to d.
func (v vector) silu(x, y, a, b, c, d string) {
	v.sigmoid(x, y, a, b, c, d)
	v.finite(x, a, b)
	v.op("VMULPS", a, y, y)
}

// geluTanh sets y to x*sigmoid(2u), which is x/2*(1+tanh(u)), and uses a to e.
func (v vector) geluTanh(x, y, a, b, c, d, e string) {
	v.op("VMULPS", x, x, e)
	v.set(2*0.79788456, a)
	v.set(2*0.79788456*0.044715, b)
	v.op("VFMADD213PS", a, b, e)
	v.op("VMULPS", x, e, e)
	v.sigmoid(e, y, a, b, c, d)
	v.finite(x, a, b)
	v.op("VMULPS", a, y, y)
}
