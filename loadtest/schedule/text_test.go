package schedule

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Profile{
		"poisson 500/s for 30s":                               Poisson(500, 30*time.Second),
		"500/s for 30s":                                       Poisson(500, 30*time.Second),
		"constant 0.5/s for 1m30s":                            Constant(0.5, 90*time.Second),
		" bursty  500/s for 2h ":                              Bursty(500, 2*time.Hour),
		"100/s to 500/s for 1m":                               Ramp(100, 500, time.Minute),
		"poisson 100/s to 500/s every 20s for 2m":             Sine(100, 500, 20*time.Second, 2*time.Minute),
		"constant 1/s for 1s, 2/s for 1s,3/s for 1s":          Steps(Even, time.Second, 1, 2, 3),
		"poisson warm-up 100/s for 5s, 100/s to 0/s for 10ms": {Independent, []Part{{Rate: 100, Duration: 5e9, Warmup: true}, {Rate: 100, To: nothing, Duration: 1e7}}},
	} {
		got, err := Parse(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("Parse(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestParseSaysWhatToChange(t *testing.T) {
	for text, want := range map[string]string{
		"":                                  `"" is no rate: one is like 500/s`,
		"poisson":                           `"" is no rate`,
		"uniform 5/s for 1s":                `"uniform" is no rate`,
		"poisson 500 for 30s":               `"500" is no rate`,
		"poisson 500/s":                     `"" is where "for" and a duration go`,
		"poisson 500/s during 3s":           `"during" is where "for"`,
		"poisson 500/s for 30":              `"30" is no duration: one is like 30s`,
		"poisson 500/s for -3s":             `"-3s" is no duration`,
		"poisson 500/s for 3s 4/s":          `"4/s" is too much: a comma`,
		"poisson 500/s for 3s,":             `"" is no rate`,
		"500/s to 600/s every 1 for 2s":     `"1" is no duration`,
		"1/s to 2/s every 3s for 2s":        "a period is between",
		"ramp 1/s to 2/s for 3s":            "a ramp is poisson",
		"poisson NaN/s for 3s":              "a rate is between",
		"poisson 1e9/s for 3s":              "a rate is between",
		"poisson 0/s for 3s":                "sends nothing",
		"poisson 1000000/s for 1h":          "at most 50000000 can be: lower",
		"poisson warm-up 5/s for 3s":        "nothing is left",
		strings.Repeat("1/s for 1s,", 2000): "at most 1000",
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%.40q) fails with %v, want %q", text, err, want)
		}
	}
}

func TestGrammarShowsWhatCanBeParsed(t *testing.T) {
	examples := 0
	for line := range strings.Lines(Grammar) {
		if example, ok := strings.CutPrefix(line, "  "); ok {
			example, _, _ = strings.Cut(example, "   ")
			if _, err := Parse(example); err != nil {
				t.Error(err)
			}
			examples++
		}
	}
	if examples != 8 {
		t.Errorf("%d examples, want 8", examples)
	}
	for word, hint := range meant {
		_, example, _ := strings.Cut(strings.Replace(hint, " are ", " is ", 1), " is ")
		if _, err := Parse(example); err != nil {
			t.Errorf("the hint for %q: %v", word, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, p := range profiles {
		f.Add(p.String())
	}
	for _, text := range []string{"", "1/s for 1s", "poisson warm-up 1/s to 1e3/s every 1h for 2h, 0x1p-2/s for 1ns", "ramp", "1/s for 1s,,"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(p.String())
		if err != nil || !reflect.DeepEqual(again, p) {
			t.Errorf("Parse(%q) = %+v, but Parse(%q) = %+v, %v", text, p, p.String(), again, err)
		}
	})
}
