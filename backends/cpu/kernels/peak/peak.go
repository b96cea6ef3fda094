// Package peak is the yardstick of benchmarks: what the processor can multiply if nothing but
// registers is involved. Only benchmarks import it.
package peak

// Loop multiplies and adds in registers for n rounds, with registers of 64 bytes if wide and of 32
// bytes otherwise, and returns how many floating-point operations that took. On processors or
// builds without such registers it returns 0.
func Loop(wide bool, n int) int { return loop(wide, n) }

// Pairs is Loop for pairs of bfloat16 and registers of 64 bytes.
func Pairs(n int) int { return pairs(n) }

// Bytes is Loop for bytes, four at a time, and registers of 64 bytes.
func Bytes(n int) int { return bytes(n) }

// PairTiles is Loop for pairs of bfloat16 and tiles. The process must have the permission to use
// them, which listing the levels of package kernels asks for.
func PairTiles(n int) int { return pairTiles(n) }

// ByteTiles is PairTiles for bytes.
func ByteTiles(n int) int { return byteTiles(n) }
