//go:build !purego

package peak

func loop(wide bool, n int) int {
	if wide {
		fmaAVX512(n)
		return n * operations * 16
	}
	fmaAVX2(n)
	return n * operations * 8
}

// operations is how many a lane does in a round: 12 registers, a multiplication and an addition.
const operations = 2 * 12

func pairs(n int) int {
	pairsAVX512BF16(n)
	return n * 24 * 16 * 4 // registers, lanes, two multiplications and two additions
}

func bytes(n int) int {
	bytesAVX512VNNI(n)
	return n * 24 * 16 * 8
}

func rows(wide bool, table *byte, offsets *int, n, times, ahead int) {
	if wide {
		rowsAVX512(table, offsets, n, times, ahead)
		return
	}
	rowsAVX2(table, offsets, n, times, ahead)
}
