package main

import (
	"strings"
	"testing"
)

func TestJudgePeers(t *testing.T) {
	const thrum = `"systems":[{"system":"thrum","rounds":[{"peak_per_second":900}]},{"system":"a","rounds":[{"peak_per_second":0,"limited":"p99 holds nowhere"}]}]`
	for _, c := range []struct {
		name, text string
		held, ok   bool
		want       string
	}{
		{"both hold", `{"cases":[{"body":"json",` + thrum + `,"best_peer":"a","leanest_peer":"b","rate_ratio":2,"cpu_ratio":0.5},{"body":"binary",` + thrum + `,"best_peer":"a","leanest_peer":"b","rate_ratio":9,"cpu_ratio":0.1}]}`, true, true, "binary 9.0 times a"},
		{"one is slower", `{"cases":[{"body":"json",` + thrum + `,"best_peer":"a","leanest_peer":"b","rate_ratio":1.9,"cpu_ratio":0.5},{"body":"binary",` + thrum + `,"best_peer":"a","leanest_peer":"b","rate_ratio":9,"cpu_ratio":0.1}]}`, false, true, "json 1.9 times a"},
		{"one takes more", `{"cases":[{"body":"json",` + thrum + `,"best_peer":"a","leanest_peer":"b","rate_ratio":3,"cpu_ratio":0.51}]}`, false, true, "0.51 of the CPU of b"},
		{"no peer holds the goal", `{"cases":[{"body":"json",` + thrum + `,"best_peer":"a","leanest_peer":"a","cpu_ratio":0.2}]}`, false, true, "json 900/s, and no peer holds the goal at any rate (a: p99 holds nowhere); 0.20 of the CPU of a"},
		{"thrum holds it nowhere", `{"cases":[{"body":"json","systems":[{"system":"thrum","error":"it fell over"}],"best_peer":"a","leanest_peer":"a","cpu_ratio":0.2}]}`, false, true, "json not measured: thrum: it fell over"},
		{"no peer", `{"cases":[{"body":"json",` + thrum + `}]}`, false, true, "json not measured: a: p99 holds nowhere"},
		{"nobody at all", `{"cases":[{"body":"json"}]}`, false, true, "json not measured: no peer was"},
		{"nothing", `{}`, false, true, "not measured"},
		{"no JSON", `{`, false, false, ""},
	} {
		measured, held, err := judgePeers([]byte(c.text))
		if held != c.held || (err == nil) != c.ok || !strings.Contains(measured, c.want) {
			t.Errorf("%s: judgePeers = %q, %v, %v, want %q, %v", c.name, measured, held, err, c.want, c.held)
		}
	}
}
