package main

import "fmt"

// peaks write loops of multiplications that read no memory and hardly wait for each other.
func peaks(f *file) {
	for _, i := range []isa{avx2, avx512} {
		v := vector{f, i}
		v.peak("fma"+i.name, 12, func(b, a, acc string) { v.op("VFMADD231PS", b, a, acc) })
	}
	v := vector{f, avx512}
	v.peak("pairsAVX512BF16", 24, func(b, a, acc string) { v.evex(vdpbf16ps, b, a, acc) })
	v.peak("bytesAVX512VNNI", 24, func(b, a, acc string) { v.op("VPDPBUSD", b, a, acc) })
}

// peak writes a loop of one instruction on some sums.
func (v vector) peak(name string, sums int, multiply func(b, a, acc string)) {
	v.function(name, fmt.Sprintf("multiplies and adds in %d registers n times.", sums), "n int")
	v.op("MOVQ", "n+0(FP)", "CX")
	for r := range sums + 2 {
		v.zeroReg(v.r(r))
	}
	loop := v.label("loop")
	v.place(loop)
	for r := range sums {
		multiply(v.r(sums), v.r(sums+1), v.r(r))
	}
	v.op("DECQ", "CX")
	v.op("JNZ", loop)
	v.ret()
}
