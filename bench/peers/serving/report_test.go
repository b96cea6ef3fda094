package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func sample() *report {
	rounds := func(peak float64, cpu time.Duration) []figures {
		return []figures{{Peak: peak, CPU: cpu}, {Peak: 2 * peak, CPU: 2 * cpu}}
	}
	c := newCase("null", "json")
	c.Systems = []*row{
		{Name: "thrum", Rounds: rounds(1000, 100)},
		{Name: "floor", Rounds: rounds(9000, 1)},
		{Name: "fast", Rounds: rounds(500, 400)},
		{Name: "lean", Rounds: rounds(100, 250)},
		{Name: "broken <b>", Error: "it fell over"},
	}
	c.decide()
	r := newReport(options{rounds: 2, rate: 200})
	r.Cases, r.Missing = []*caseReport{c}, map[string]string{"absent": "it has no package"}
	return r
}

func TestDecide(t *testing.T) {
	c := sample().Cases[0]
	if c.Best != "fast" || c.Lean != "lean" || c.Rate != 2 || c.CPU != 0.4 {
		t.Errorf("decide = %s %v, %s %v, want fast 2, lean 0.4", c.Best, c.Rate, c.Lean, c.CPU)
	}
	if all := c.Ranked(); all[0].Name != "floor" || all[1].Name != "thrum" || c.Share(all[1]) < 11 || c.Share(all[1]) > 12 {
		t.Errorf("Ranked begins with %s, %s", all[0].Name, all[1].Name)
	}
	alone := &caseReport{Systems: []*row{{Name: "thrum", Rounds: []figures{{Peak: 1}}}}}
	if alone.decide(); alone.Best != "" {
		t.Errorf("without peers the best is %q", alone.Best)
	}
}

func TestReportIsWritten(t *testing.T) {
	r := sample()
	var table strings.Builder
	if err := r.print(&table); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"2.00 times the rate of fast and takes 0.40 of the CPU of lean", "it fell over", "absent is left out: it has no package"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, &table)
		}
	}
	dir := t.TempDir()
	if err := r.write(dir); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "index.html"))
	if err != nil || !strings.Contains(string(page), "broken &lt;b&gt;") || !strings.Contains(string(page), "it has no package") {
		t.Errorf("index.html: %v\n%s", err, page)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "results.json")); err != nil || !strings.Contains(string(text), `"rate_ratio": 2`) {
		t.Errorf("results.json: %v\n%s", err, text)
	}
}
