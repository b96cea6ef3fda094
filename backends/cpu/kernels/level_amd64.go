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
	for _, more := range []struct {
		level Level
		needs []cpuid.FeatureID
	}{
		{AVX512, []cpuid.FeatureID{cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512DQ, cpuid.AVX512VL}},
		{AVX512VNNI, []cpuid.FeatureID{cpuid.AVX512VNNI}},
		{AVX512BF16, []cpuid.FeatureID{cpuid.AVX512BF16}},
	} {
		if !cpuid.CPU.Supports(more.needs...) {
			break
		}
		levels = append(levels, more.level)
	}
	return levels
}
