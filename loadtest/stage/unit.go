package stage

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Share is a part of something, written as "25 %" or 25%; 1 is all of it.
type Share float64

// UnmarshalText parses a share.
func (s *Share) UnmarshalText(text []byte) error {
	number, ok := strings.CutSuffix(strings.TrimSpace(string(text)), "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if !ok || err != nil || !(v >= 0) || v > 1e6 {
		return fmt.Errorf("%q is not a share: write it like 25%%", text)
	}
	*s = Share(v / 100)
	return nil
}

// String returns it in percent.
func (s Share) String() string { return strconv.FormatFloat(float64(s)*100, 'g', 6, 64) + " %" }

// Rate is requests per second, written as "400/s" or 400.
type Rate float64

// UnmarshalText parses a rate.
func (r *Rate) UnmarshalText(text []byte) error {
	v, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(string(text)), "/s")), 64)
	if err != nil || !(v > 0) || math.IsInf(v, 1) {
		return fmt.Errorf("%q is not a rate: write it like 400/s", text)
	}
	*r = Rate(v)
	return nil
}

// Bytes is an amount of memory, written as 512MiB or 1GB.
type Bytes uint64

// UnmarshalText parses an amount.
func (b *Bytes) UnmarshalText(text []byte) error {
	number, unit := strings.TrimSpace(string(text)), 1.0
	for suffix, size := range map[string]float64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "KB": 1e3, "MB": 1e6, "GB": 1e9} {
		if rest, ok := strings.CutSuffix(number, suffix); ok {
			number, unit = strings.TrimSpace(rest), size
			break
		}
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || !(v > 0) || v*unit > 1<<62 {
		return fmt.Errorf("%q is not an amount of memory: write it like 512MiB", text)
	}
	*b = Bytes(v * unit)
	return nil
}

// String returns it in MiB.
func (b Bytes) String() string { return fmt.Sprintf("%.0f MiB", float64(b)/(1<<20)) }
