package report

import (
	"testing"
	"time"
)

func TestWords(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{millis(0), "-"},
		{millis(0.0011), "0.001"},
		{millis(0.9994), "0.999"},
		{millis(0.9996), "1.00"},
		{millis(9.994), "9.99"},
		{millis(9.996), "10.0"},
		{millis(99.94), "99.9"},
		{millis(99.96), "100"},
		{millis(12345.6), "12,346"},
		{perSecond(0), "0.0"},
		{perSecond(999.94), "999.9"},
		{perSecond(999.96), "1,000"},
		{perSecond(1234567), "1,234,567"},
		{askedWord(0), "-"},
		{askedWord(1.5), "1.5"},
		{between(nil, new(1.0)), "-"},
		{between(new(-1.25), new(3.0)), "-1.2 to +3.0 %"},
		{cacheWords(serverView{}), "not known: there were no metrics of the server"},
		{cacheWords(serverView{Metrics: true}), "none: the server counts no cache of this model"},
		{cacheWords(serverView{Metrics: true, CacheBypassed: 1200}), "0 % (bypassed: all 1,200 requests went past it, as asked)"},
		{cacheWords(serverView{Metrics: true, CacheHitRatio: new(0.5), CacheHits: 2, CacheLookups: 4}), "50.0 % (2 of 4 lookups)"},
		{cacheWords(serverView{Metrics: true, CacheHitRatio: new(0.5), CacheHits: 2, CacheLookups: 4, CacheBypassed: 3}), "50.0 % (2 of 4 lookups; 3 requests went past it, as asked)"},
		{percent(0), "0 %"},
		{percent(0.000012), "0.0012 %"},
		{percent(0.0012), "0.12 %"},
		{percent(0.123), "12.3 %"},
		{percent(1), "100.0 %"},
		{clock(7 * time.Second), "0:07"},
		{clock(59*time.Minute + 59*time.Second), "59:59"},
		{clock(time.Hour + 2*time.Second), "1:00:02"},
		{changed(nil), "-"},
		{changed(new(-3.21)), "-3.2 %"},
		{plain("a\x1b[2J\nb\u202e"), "a?[2J?b?"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}
