package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Bytes is an amount of memory, written as a number with an optional unit: 64MiB, 1GB, 4096.
type Bytes int64

var byteUnits = []struct {
	suffix string
	size   float64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1},
}

// Set parses text; it makes Bytes usable as a command-line flag.
func (b *Bytes) Set(text string) error {
	number, unit := strings.TrimSpace(text), 1.0
	for _, u := range byteUnits {
		if rest, ok := strings.CutSuffix(number, u.suffix); ok {
			number, unit = strings.TrimSpace(rest), u.size
			break
		}
	}
	value, err := strconv.ParseFloat(number, 64)
	if err != nil || !(value >= 0) || value*unit > math.MaxInt64/2 {
		return fmt.Errorf("%q is not an amount of memory: write it like 64MiB or 1GB", text)
	}
	*b = Bytes(value * unit)
	return nil
}

// String returns the amount in the largest binary unit that divides it.
func (b Bytes) String() string {
	for _, u := range []struct {
		suffix string
		size   Bytes
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if b != 0 && b%u.size == 0 {
			return fmt.Sprintf("%d%s", b/u.size, u.suffix)
		}
	}
	return fmt.Sprintf("%dB", int64(b))
}

// Type names the kind of value in --help.
func (b *Bytes) Type() string { return "size" }

// UnmarshalYAML parses the scalar, saying where it is wrong.
func (b *Bytes) UnmarshalYAML(n *yaml.Node) error { return atLine(n, b.Set) }

// Duration is a time span such as 250ms or 1m30s. A bare number is refused: it has no unit.
type Duration time.Duration

// Set parses text; it makes Duration usable as a command-line flag.
func (d *Duration) Set(text string) error {
	value, err := time.ParseDuration(text)
	if err != nil || value < 0 {
		return fmt.Errorf("%q is not a duration: write it like 250ms, 10s or 1m30s", text)
	}
	*d = Duration(value)
	return nil
}

func (d Duration) String() string { return time.Duration(d).String() }

// Type names the kind of value in --help.
func (d *Duration) Type() string { return "duration" }

// UnmarshalYAML parses the scalar, saying where it is wrong.
func (d *Duration) UnmarshalYAML(n *yaml.Node) error { return atLine(n, d.Set) }

func atLine(n *yaml.Node, set func(string) error) error {
	if n.Kind != yaml.ScalarNode {
		return fmt.Errorf("line %d: a single value is expected", n.Line)
	}
	if err := set(n.Value); err != nil {
		return fmt.Errorf("line %d: %w", n.Line, err)
	}
	return nil
}
