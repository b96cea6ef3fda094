package host

import (
	"cmp"
	"math"
	"math/bits"
	"time"
)

// Hang says for how long an instance may compute before it counts as hung and is killed. The
// zero value is good.
type Hang struct {
	Multiple int           // of what a batch of its size has cost; 20 if 0
	Floor    time.Duration // however little that is; 1 s if 0
	Cap      time.Duration // however much, and where nothing has been measured; 1 min if 0
}

func (h Hang) withDefaults() Hang {
	h.Multiple = cmp.Or(h.Multiple, 20)
	h.Floor = cmp.Or(h.Floor, time.Second)
	h.Cap = max(cmp.Or(h.Cap, time.Minute), h.Floor)
	return h
}

// limit returns how long a batch of rows may take.
func (h Hang) limit(c *costs, rows int) time.Duration {
	cost := c.of(rows)
	if cost == 0 || cost > h.Cap/time.Duration(h.Multiple) {
		return h.Cap
	}
	return max(h.Floor, time.Duration(h.Multiple)*cost)
}

// costs is what batches have cost lately. Element i is of those with more than 2^(i-1) and up to
// 2^i rows, the last also of larger ones; 0 is not known.
type costs [24]time.Duration

func bucket(rows int) int {
	return min(bits.Len(uint(max(rows, 1)-1)), len(costs{})-1)
}

// observe takes in what a batch has cost. A larger cost than known counts at once, a smaller
// one by an eighth of the difference: it is the slow ones that must not be taken for hung.
func (c *costs) observe(rows int, took time.Duration) {
	known := &c[bucket(rows)]
	*known = max(took, *known-(*known-took)/8, 1)
}

// of returns what a batch costs, or 0 if nothing is known. Where nothing is known of its size,
// it costs in proportion to the next smaller size, or else as much as the next larger one.
func (c *costs) of(rows int) time.Duration {
	i := bucket(rows)
	for j := i; j >= 0; j-- {
		if c[j] > 0 {
			return min(c[j], math.MaxInt64>>(i-j)) << (i - j)
		}
	}
	for _, cost := range c[i:] {
		if cost > 0 {
			return cost
		}
	}
	return 0
}
