// Package peak is the yardstick of benchmarks: what the processor can multiply if nothing but
// registers is involved.
package peak

// Loop multiplies and adds in registers for n rounds, with registers of 64 bytes if wide and of 32
// bytes otherwise, and returns how many floating-point operations that took. On processors or
// builds without such registers it returns 0.
func Loop(wide bool, n int) int { return loop(wide, n) }
