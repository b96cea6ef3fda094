//go:build !purego

package kernels

import "github.com/klauspost/cpuid/v2"

// Levels returns what this processor and this build have, slowest first.
func Levels() []Level {
	levels := []Level{Portable}
	if !cpuid.CPU.Supports(cpuid.AVX2, cpuid.FMA3) {
		return levels
	}
	levels = append(levels, AVX2)
	if cpuid.CPU.Supports(cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512DQ, cpuid.AVX512VL) {
		levels = append(levels, AVX512)
	}
	return levels
}
