//go:build purego || !amd64

package oip

var fastPlain = false

const plainBytes = 0

func plainRun(*byte, int, *byte, int, int) (filled, next int) {
	panic("oip: this build has no assembly")
}
