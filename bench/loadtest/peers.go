package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// peersRow runs the comparison with other serving systems on the null model.
func peersRow(ctx context.Context) (measured string, held bool, err error) {
	if err := passThrough(exec.CommandContext(ctx, "bench/peers/serving/environments.sh", environments)); err != nil {
		return "", false, err
	}
	args := []string{"run", "./bench/peers/serving", "-thrum", "./thrum", "-environments", environments, "-cases", "^null/"}
	if *short {
		args = append(args, "-short")
	} else { // half an hour; at its own length the comparison takes more than two
		args = append(args, "-rounds", "3", "-trial", "2s", "-fixed", "5s")
	}
	if err := passThrough(exec.CommandContext(ctx, "go", args...)); err != nil {
		return "", false, err
	}
	text, err := os.ReadFile(filepath.Join(environments, "results.json"))
	if err != nil {
		return "", false, err
	}
	return judgePeers(text)
}

// passThrough shows what c prints beside the table, not in it.
func passThrough(c *exec.Cmd) error {
	c.Stdout, c.Stderr = os.Stderr, os.Stderr
	return c.Run()
}

// peersCase is a body of the results.
type peersCase struct {
	Body    string  `json:"body"`
	Best    string  `json:"best_peer"`
	Lean    string  `json:"leanest_peer"`
	Rate    float64 `json:"rate_ratio"`
	CPU     float64 `json:"cpu_ratio"`
	Systems []struct {
		Name   string `json:"system"`
		Error  string `json:"error"`
		Rounds []struct {
			Peak    float64 `json:"peak_per_second"`
			Limited string  `json:"limited"`
		} `json:"rounds"`
	} `json:"systems"`
}

// judgePeers reads the results of the comparison.
func judgePeers(text []byte) (measured string, held bool, err error) {
	var results struct {
		Cases []peersCase `json:"cases"`
	}
	if err := json.Unmarshal(text, &results); err != nil {
		return "", false, err
	}
	held = len(results.Cases) > 0
	var parts []string
	for _, c := range results.Cases {
		words, ok := c.judge()
		parts, held = append(parts, c.Body+" "+words), held && ok
	}
	if len(parts) == 0 {
		return "not measured: there are no results", false, nil
	}
	return strings.Join(parts, "; "), held, nil
}

// judge says what was measured, or why nothing was.
func (c peersCase) judge() (words string, held bool) {
	switch own := c.peak("thrum"); {
	case c.Best == "" || c.CPU == 0:
		return "not measured: " + c.why("no peer was"), false
	case own == 0:
		return "not measured: " + c.why("thrum holds the goal at no rate"), false
	case c.Rate == 0: // of nothing there is no multiple, and so the target is not said to be held
		return fmt.Sprintf("%.0f/s, and no peer holds the goal at any rate (%s); %.2f of the CPU of %s", own, c.why("tried"), c.CPU, c.Lean), false
	}
	return fmt.Sprintf("%.1f times %s, %.2f of the CPU of %s", c.Rate, c.Best, c.CPU, c.Lean), c.Rate >= 2 && c.CPU <= 0.5
}

// peak is the highest that a system has shown.
func (c peersCase) peak(system string) (most float64) {
	for _, s := range c.Systems {
		for _, r := range s.Rounds {
			if s.Name == system {
				most = max(most, r.Peak)
			}
		}
	}
	return most
}

// why is what is said of each system that has no peak.
func (c peersCase) why(otherwise string) string {
	var all []string
	for _, s := range c.Systems {
		reason := s.Error
		for _, r := range s.Rounds {
			reason = cmp.Or(reason, r.Limited)
		}
		if c.peak(s.Name) == 0 && reason != "" && s.Name != "floor" {
			all = append(all, s.Name+": "+reason)
		}
	}
	return cmp.Or(strings.Join(all, ", "), otherwise)
}
