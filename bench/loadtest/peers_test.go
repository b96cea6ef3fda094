package main

import "testing"

func TestJudgePeers(t *testing.T) {
	for _, c := range []struct {
		name, text string
		held, ok   bool
	}{
		{"both hold", `{"cases":[{"body":"json","best_peer":"a","leanest_peer":"b","rate_ratio":2,"cpu_ratio":0.5},{"body":"binary","best_peer":"a","leanest_peer":"b","rate_ratio":9,"cpu_ratio":0.1}]}`, true, true},
		{"one is slower", `{"cases":[{"body":"json","best_peer":"a","leanest_peer":"b","rate_ratio":1.9,"cpu_ratio":0.5},{"body":"binary","best_peer":"a","leanest_peer":"b","rate_ratio":9,"cpu_ratio":0.1}]}`, false, true},
		{"one takes more", `{"cases":[{"body":"json","best_peer":"a","leanest_peer":"b","rate_ratio":3,"cpu_ratio":0.51}]}`, false, true},
		{"no peer", `{"cases":[{"body":"json"}]}`, false, false},
		{"nothing", `{}`, false, true},
		{"no JSON", `{`, false, false},
	} {
		if measured, held, err := judgePeers([]byte(c.text)); held != c.held || (err == nil) != c.ok {
			t.Errorf("%s: judgePeers = %q, %v, %v, want %v", c.name, measured, held, err, c.held)
		}
	}
}
