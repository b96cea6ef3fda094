package main

import (
	"testing"
	"time"
)

func TestParseWitnessed(t *testing.T) {
	head := []string{"Concurrency", "Inferences/Second", "Client Send", "p50 latency", "p99 latency"}
	got, err := parseWitnessed([][]string{head, {"2", "6013.1", "59", "264", "1406"}})
	if want := (witnessed{Rate: 6013.1, P50: 264 * time.Microsecond, P99: 1406 * time.Microsecond}); err != nil || got != want {
		t.Errorf("parseWitnessed = %v, %v, want %v", got, err, want)
	}
	for name, table := range map[string][][]string{
		"nothing":      nil,
		"no row":       {head},
		"a cut row":    {head, {"2", "6013.1"}},
		"no number":    {head, {"2", "much", "59", "264", "1406"}},
		"other fields": {{"a"}, {"1"}},
	} {
		if got, err := parseWitnessed(table); err == nil {
			t.Errorf("%s: parseWitnessed = %v, want an error", name, got)
		}
	}
}
