//go:build purego || !amd64

package oip

var hasAVX2 = false

const plainBytes = 0

func plainRun(*byte, int, *byte, int, int) (filled, next int) {
	panic("oip: this build has no assembly")
}

func decimals4(*decimal32, *byte, int, *uint64) { panic("oip: this build has no assembly") }
