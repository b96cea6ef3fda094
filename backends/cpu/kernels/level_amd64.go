//go:build !purego

package kernels

import (
	"slices"
	"sync"

	"github.com/klauspost/cpuid/v2"
)

// Levels returns what this processor and this build have, slowest first. The first call asks the
// kernel for the use of tiles, for all threads of the process, if the processor has them.
func Levels() []Level { return slices.Clone(levels()) }

var levels = sync.OnceValue(findLevels)

func findLevels() []Level {
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
	tiles := tileSupport{
		processor: levels[len(levels)-1] == AVX512BF16 && cpuid.CPU.Supports(cpuid.AMXTILE, cpuid.AMXBF16, cpuid.AMXINT8),
		enabled:   enabledStates,
		permit:    permitTiles,
	}
	if tiles.usable() {
		levels = append(levels, AMX)
	}
	return levels
}

// tileSupport is what it takes to use the tiles of AMX.
type tileSupport struct {
	processor bool          // has them and all that levels below have
	enabled   func() uint32 // returns the registers that the system saves, as XGETBV does
	permit    func() bool   // asks the system, which has to make room for tiles where it saves registers
}

// tileStates are the bits of enabled for the sizes of tiles and for tiles.
const tileStates = 1<<17 | 1<<18

func (s tileSupport) usable() bool {
	return s.processor && s.enabled()&tileStates == tileStates && s.permit()
}
