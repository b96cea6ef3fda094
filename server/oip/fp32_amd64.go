//go:build !purego

package oip

import "golang.org/x/sys/cpu"

// hasAVX2 says whether this processor runs the assembly.
var hasAVX2 = cpu.X86.HasAVX2 && cpu.X86.HasBMI1

// plainBytes is how much text plainRun is given at a time: it cannot be interrupted, and takes about a
// nanosecond for three bytes.
const plainBytes = 64 << 10

// plainRun reads numbers as plainNumbers does, into room bytes at out, up to length bytes of text from
// i on, before which there are at least plainMargin. It returns how many bytes of out it has filled,
// and where it stopped: before a number that is not of the usual form, or near the end.
//
//go:noescape
func plainRun(out *byte, room int, text *byte, i, length int) (filled, next int)

// decimals4 sets out to the decimals of n float32 in data, a multiple of four. tens are the powers of
// ten that shortest uses.
//
//go:noescape
func decimals4(out *decimal32, data *byte, n int, tens *uint64)
