package kernels

import (
	"fmt"
	"sync/atomic"
)

// Level is an instruction set that the kernels are written for.
type Level uint8

// The levels, each with all that the one before has. What a level adds is used where it helps:
// kernels for float32 stop at AVX512.
const (
	Portable   Level = iota // plain Go
	AVX2                    // AVX2 and FMA3
	AVX512                  // AVX-512 F, BW, DQ and VL
	AVX512VNNI              // dot products of bytes
	AVX512BF16              // dot products of bfloat16
	AMX                     // products of tiles of bfloat16 and of bytes
)

var levelNames = [...]string{"portable", "avx2", "avx512", "avx512vnni", "avx512bf16", "amx"}

// String returns the level's name, such as "avx2".
func (l Level) String() string {
	if int(l) < len(levelNames) {
		return levelNames[l]
	}
	return fmt.Sprintf("level(%d)", uint8(l))
}

var current atomic.Uint32 // 0 until the first use, then the level plus one

// Best returns the fastest level that this processor and this build have.
func Best() Level {
	levels := Levels()
	return levels[len(levels)-1]
}

// CurrentLevel returns the level in use: Best, unless SetLevel chose another.
func CurrentLevel() Level {
	if l := current.Load(); l != 0 {
		return Level(l - 1)
	}
	best := Best()
	if current.CompareAndSwap(0, uint32(best)+1) {
		return best
	}
	return Level(current.Load() - 1)
}

// SetLevel chooses the level for the whole process. It is called once at the start, before any
// kernel runs; it fails if this processor or this build lacks the level.
func SetLevel(l Level) error {
	for _, have := range Levels() {
		if have == l {
			current.Store(uint32(l) + 1)
			return nil
		}
	}
	return fmt.Errorf("kernels: level %v is not available: this processor and build have %v", l, Levels())
}
