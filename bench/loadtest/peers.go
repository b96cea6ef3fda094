package main

import (
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

// judgePeers reads the results of the comparison.
func judgePeers(text []byte) (measured string, held bool, err error) {
	var results struct {
		Cases []struct {
			Body string  `json:"body"`
			Best string  `json:"best_peer"`
			Lean string  `json:"leanest_peer"`
			Rate float64 `json:"rate_ratio"`
			CPU  float64 `json:"cpu_ratio"`
		} `json:"cases"`
	}
	if err := json.Unmarshal(text, &results); err != nil {
		return "", false, err
	}
	held = len(results.Cases) > 0
	var parts []string
	for _, c := range results.Cases {
		if c.Best == "" || c.Rate == 0 || c.CPU == 0 {
			return "", false, fmt.Errorf("%s: no peer was measured", c.Body)
		}
		parts = append(parts, fmt.Sprintf("%s %.1f times %s, %.2f of the CPU of %s", c.Body, c.Rate, c.Best, c.CPU, c.Lean))
		held = held && c.Rate >= 2 && c.CPU <= 0.5
	}
	return strings.Join(parts, "; "), held, nil
}
