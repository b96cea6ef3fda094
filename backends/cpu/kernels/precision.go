package kernels

import (
	"fmt"
	"slices"
)

// Precision is what the operands of a product are rounded to before they are multiplied. Sums, and
// what is added to them, are float32 at all precisions.
type Precision uint8

// The precisions.
const (
	FP32 Precision = iota // not rounded
	BF16                  // bfloat16: 8 bits of float32's 24
	Int8                  // bytes, with a scale for each row of A and each column of B
)

var precisionNames = []string{"fp32", "bf16", "int8"}

// String returns the precision's name, such as "bf16".
func (p Precision) String() string {
	if int(p) < len(precisionNames) {
		return precisionNames[p]
	}
	return fmt.Sprintf("precision(%d)", uint8(p))
}

// ParsePrecision returns the precision of a name.
func ParsePrecision(name string) (Precision, error) {
	i := slices.Index(precisionNames, name)
	if i < 0 {
		return FP32, fmt.Errorf("kernels: no precision is called %q: there are %q", name, precisionNames)
	}
	return Precision(i), nil
}

// A unit is 32 bits along K: one float32, the pair of bfloat16 of k = 2u and 2u+1, or the bytes of
// k = 4u to 4u+3, the first in the lowest bits. Units beyond K are zero. Wherever units stand in
// memory that is typed float32, only their bits count.

// lanes returns how many values a unit holds.
func (p Precision) lanes() int { return 1 << p }

// units returns how many units k values take.
func (p Precision) units(k int) int { return (k + p.lanes() - 1) / p.lanes() }
