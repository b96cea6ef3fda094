package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/thrumserve/thrum/bench/turns"
)

// json runs bench/peers/json, which is a module of its own because its peers are in Go.
func (l *lab) json(ctx context.Context) ([]turns.Finding, error) {
	c := exec.CommandContext(ctx, "go", "run", ".", "-json", "-rounds", fmt.Sprint(l.Rounds), "-length", l.Length.String())
	c.Dir, c.Stderr = "bench/peers/json", os.Stderr
	out, err := c.Output()
	if err != nil {
		return nil, err
	}
	var all []turns.Finding
	for line := range strings.Lines(string(out)) {
		var r struct {
			What, Peer                              string
			Own, Other                              float64 // nanoseconds
			Ratio, Least, Most, Target, Allocations float64
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			return all, err
		}
		f := turns.Finding{What: fmt.Sprintf("JSON, %s, beside %s", r.What, r.Peer), Measured: fmt.Sprintf(
			"%v×; %.1f beside %.1f ns of processor time a number; %.0f allocations; equal to the bit", turns.Spread{Median: r.Ratio, Least: r.Least, Most: r.Most}, r.Own, r.Other, r.Allocations)}
		if r.Target != 0 {
			f.Target, f.Verdict = fmt.Sprintf("≥ %.2f×, 0 allocations", r.Target), turns.Judge(r.Ratio >= r.Target && r.Allocations == 0)
		}
		all = append(all, f)
	}
	return all, nil
}
