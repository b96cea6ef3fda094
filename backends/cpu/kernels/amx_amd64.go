//go:build !purego

package kernels

// run computes the sums. The first use of tiles by a thread makes room for them.
func (p *tileProduct) run(precision Precision) {
	if precision == Int8 {
		productInt8AMX(p)
		return
	}
	productBF16AMX(p)
}

// finishSums sets c to the finished sums in a.
func (t *tile) finishSums(l Level) {
	if l < AVX512 {
		t.finishSumsPortable()
		return
	}
	finishSumsAVX512(t)
}
