package main

// peaks write loops of multiplications that read no memory and hardly wait for each other.
func peaks(f *file) {
	for _, i := range []isa{avx2, avx512} {
		v := vector{f, i}
		v.function("fma"+i.name, "multiplies and adds in 12 registers n times.", "n int")
		v.op("MOVQ", "n+0(FP)", "CX")
		for r := range 14 {
			v.zeroReg(v.r(r))
		}
		loop := v.label("loop")
		v.place(loop)
		for r := range 12 {
			v.op("VFMADD231PS", v.r(12), v.r(13), v.r(r))
		}
		v.op("DECQ", "CX")
		v.op("JNZ", loop)
		v.ret()
	}
}
