// Command json compares how fast thrum reads and writes JSON arrays of float32 with what others take.
// Run it in its folder: go run .
//
// Peers are called in turn with the same text, A B A B, and a ratio is the median over the rounds of
// the peer's time divided by thrum's. Times are those of the thread on a processor, so that what else
// the machine does counts less; the time on the clock stands beside. Every answer is compared with
// strconv's, to the bit. cal is a chain of multiplications, three cycles each.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"
)

func main() {
	rounds := flag.Int("rounds", 15, "rounds of each comparison")
	length := flag.Duration("length", 300*time.Millisecond, "length of a peer's part of a round")
	lines := flag.Bool("json", false, "print what has a target only, as lines of JSON")
	flag.Parse()
	runtime.LockOSThread()
	measure := run
	if *lines {
		measure = runLines
	}
	if err := measure(*rounds, *length); err != nil {
		fmt.Fprintln(os.Stderr, "json:", err)
		os.Exit(1)
	}
}

func run(rounds int, length time.Duration) error {
	fmt.Printf("%s, GOMAXPROCS %d, %d rounds of %v, load average %s\n", runtime.Version(), runtime.GOMAXPROCS(0), rounds, length, load())
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer out.Flush()
	fmt.Fprintln(out, "what\tpeer\tthrum ns/float\tpeer ns/float\ton the clock\tratio\tmin - max\ttarget\t\tallocations\tcal cycles/ns")
	for _, c := range comparisons() {
		if err := c.check(); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		for _, r := range c.measure(rounds, length) {
			fmt.Fprintf(out, "%s\t%s\t%.1f\t%.1f\t%.1f / %.1f\t%.2f\t%.2f - %.2f\t%s\t%s\t%.0f\t%.2f\n", c.name, r.peer.name, r.own.cpu, r.other.cpu,
				r.own.clock, r.other.clock, r.ratio.median, r.ratio.least, r.ratio.most, r.peer.goal(), r.verdict(), c.allocations(), r.cal)
		}
	}
	fmt.Fprintf(out, "load average at the end: %s\n", load())
	return nil
}

// runLines prints for bench/kernels what has a target.
func runLines(rounds int, length time.Duration) error {
	out := json.NewEncoder(os.Stdout)
	for _, c := range comparisons() {
		if c.peers[0].target == 0 {
			continue
		}
		if err := c.check(); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		for _, r := range c.measure(rounds, length) {
			line := map[string]any{
				"what": c.name, "peer": r.peer.name, "own": r.own.cpu, "other": r.other.cpu, "ratio": r.ratio.median,
				"least": r.ratio.least, "most": r.ratio.most, "target": r.peer.target, "allocations": c.allocations(),
			}
			if err := out.Encode(line); err != nil {
				return err
			}
		}
	}
	return nil
}

// load returns the load average.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}
