//go:build !purego

package oip

import "golang.org/x/sys/cpu"

//go:generate go run -C gen . -out ..

// hasAVX2 says whether this processor runs the assembly.
var hasAVX2 = cpu.X86.HasAVX2 && cpu.X86.HasBMI1

// plainBytes is how much text plainRun is given at a time: it cannot be interrupted, and takes about a
// nanosecond for three bytes.
const plainBytes = 64 << 10
