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

// tileSums is how many sums a round of tiles adds to: 4 tiles of 16 x 16, 16 units to each sum.
const tileSums = 4 * 16 * 16 * 16

func pairTiles(n int) int {
	pairsAMX(wholeTiles(), n)
	return n * tileSums * 4
}

func byteTiles(n int) int {
	bytesAMX(wholeTiles(), n)
	return n * tileSums * 8
}

// wholeTiles are the sizes of tiles of 16 rows of 64 bytes, as the processor reads them.
func wholeTiles() *[64]byte {
	sizes := [64]byte{1}
	for tile := range 8 {
		sizes[16+2*tile], sizes[48+tile] = 64, 16
	}
	return &sizes
}

func rows(wide bool, table *byte, offsets *int, n, times, ahead int) {
	if wide {
		rowsAVX512(table, offsets, n, times, ahead)
		return
	}
	rowsAVX2(table, offsets, n, times, ahead)
}
