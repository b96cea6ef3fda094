package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/thrumserve/thrum/bench/turns"
)

// trees runs bench/peers/trees, whose peers are asked in Python without a file between.
func (l *lab) trees(ctx context.Context) ([]turns.Finding, error) {
	args := []string{"bench/peers/trees/compare.py", "--json", "--only", "xgboost", "--dir", filepath.Join(l.environment, "trees-models"),
		"--rounds", fmt.Sprint(l.Rounds), "--length", fmt.Sprint(l.Length.Seconds())}
	c := exec.CommandContext(ctx, filepath.Join(l.environment, "trees", "bin", "python"), args...)
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return nil, err
	}
	var all []turns.Finding
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "{") {
			continue // the head of its table
		}
		var r struct {
			What, Peer                          string
			Batch                               int
			Own, Other                          float64 // microseconds
			Ratio, Least, Most, Target, Differs float64
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			return all, err
		}
		all = append(all, turns.Finding{
			What: fmt.Sprintf("trees, %s, batch %d, beside %s, threads: 1", r.What, r.Batch, r.Peer),
			Measured: fmt.Sprintf("%v×; %.2f beside %.2f µs of processor time a row; differs by %.0e",
				turns.Spread{Median: r.Ratio, Least: r.Least, Most: r.Most}, r.Own, r.Other, r.Differs),
			Target: fmt.Sprintf("≥ %.1f×", r.Target), Verdict: turns.Judge(r.Ratio >= r.Target),
		})
	}
	return all, nil
}
