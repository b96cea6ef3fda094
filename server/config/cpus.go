package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// CPUs is a set of processors, ascending, written as Linux does: 0-1,4.
type CPUs []int

// mostCPUs is beyond the largest machine there is; it bounds what "0-999999999" costs.
const mostCPUs = 4096

// Set parses text.
func (c *CPUs) Set(text string) error {
	var set []int
	for part := range strings.SplitSeq(text, ",") {
		low, high, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			high = low
		}
		from, err1 := strconv.ParseUint(low, 10, 16)
		to, err2 := strconv.ParseUint(high, 10, 16)
		if err1 != nil || err2 != nil || from > to || to >= mostCPUs {
			return fmt.Errorf(`%q is not a set of processors: write it like "0-1,4"`, text)
		}
		for cpu := from; cpu <= to; cpu++ {
			set = append(set, int(cpu))
		}
	}
	slices.Sort(set)
	*c = slices.Compact(set)
	return nil
}

// UnmarshalYAML parses the scalar, saying where it is wrong.
func (c *CPUs) UnmarshalYAML(n *yaml.Node) error { return atLine(n, c.Set) }
