package schedule

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Grammar is what Parse reads.
const Grammar = `[constant | poisson | bursty] part {, part}     poisson if none is named
part:  [warm-up] RATE/s [to RATE/s [every PERIOD]] for DURATION

  poisson 500/s for 30s                              independent users
  constant 500/s for 30s                             equal distances
  bursty 500/s for 30s                               bursts of 0.5 and 1.5 times the rate, 200 ms on average
  poisson 100/s to 500/s for 1m                      a ramp
  poisson 100/s to 500/s every 20s for 2m            a sine
  poisson 100/s for 10s, 200/s for 10s               steps
  poisson 100/s for 10s, 1000/s for 5s, 100/s for 10s    a spike
  poisson warm-up 100/s for 5s, 100/s for 30s        the first part is not counted`

// meant are words for which the grammar has none.
var meant = map[string]string{
	"ramp":  "a ramp is poisson 100/s to 500/s for 1m",
	"sine":  "a sine is poisson 100/s to 500/s every 20s for 2m",
	"steps": "steps are poisson 100/s for 10s, 200/s for 10s",
	"spike": "a spike is poisson 100/s for 10s, 1000/s for 5s, 100/s for 10s",
	"burst": "bursts are bursty 500/s for 30s",
	"even":  "equal distances are constant 500/s for 30s",
}

// Parse reads a profile such as "poisson 500/s for 30s", by Grammar. What it returns has been checked.
func Parse(text string) (Profile, error) {
	p := Profile{Arrivals: Independent}
	parts := strings.Split(text, ",")
	words := strings.Fields(parts[0])
	if len(words) > 0 {
		switch a := Arrivals(words[0]); a {
		case Even, Independent, Clustered:
			p.Arrivals = a
			parts[0] = strings.Join(words[1:], " ")
		}
		if hint, ok := meant[words[0]]; ok {
			return Profile{}, fmt.Errorf("profile %q: %s", text, hint)
		}
	}
	if len(parts) > MaxParts {
		return Profile{}, fmt.Errorf("the profile has %d parts, at most %d can be", len(parts), MaxParts)
	}
	for _, part := range parts {
		parsed, err := parsePart(strings.Fields(part))
		if err != nil {
			return Profile{}, fmt.Errorf("profile %q: %w", text, err)
		}
		p.Parts = append(p.Parts, parsed)
	}
	if err := p.Check(); err != nil {
		return Profile{}, fmt.Errorf("profile %q: %w", text, err)
	}
	return p, nil
}

// parsePart reads words such as those of "100/s to 500/s for 1m".
func parsePart(words []string) (part Part, err error) {
	next := func() string {
		if len(words) == 0 {
			return ""
		}
		word := words[0]
		words = words[1:]
		return word
	}
	follows := func(word string) bool {
		if len(words) > 0 && words[0] == word {
			next()
			return true
		}
		return false
	}
	part.Warmup = follows("warm-up")
	if part.Rate, err = parseRate(next()); err != nil {
		return Part{}, err
	}
	if follows("to") {
		if part.To, err = parseRate(next()); err != nil {
			return Part{}, err
		}
		part.To = cmp.Or(part.To, nothing)
		if follows("every") {
			if part.Period, err = parseDuration(next()); err != nil {
				return Part{}, err
			}
		}
	}
	if part.Period == 0 && part.To == part.Rate {
		part.To = 0
	}
	if word := next(); word != "for" {
		return Part{}, fmt.Errorf("%q is where \"for\" and a duration go, such as 500/s for 30s", word)
	}
	if part.Duration, err = parseDuration(next()); err != nil {
		return Part{}, err
	}
	if len(words) > 0 {
		return Part{}, fmt.Errorf("%q is too much: a comma goes before another part", strings.Join(words, " "))
	}
	return part, nil
}

func parseRate(word string) (float64, error) {
	digits, ok := strings.CutSuffix(word, "/s")
	rate, err := strconv.ParseFloat(digits, 64)
	if !ok || err != nil {
		return 0, fmt.Errorf("%q is no rate: one is like 500/s", word)
	}
	return rate, nil
}

func parseDuration(word string) (time.Duration, error) {
	d, err := time.ParseDuration(word)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is no duration: one is like 30s or 1m30s", word)
	}
	return d, nil
}

// String is the text that Parse reads as p, but for the names of parts.
func (p Profile) String() string {
	parts := make([]string, len(p.Parts))
	for i, part := range p.Parts {
		parts[i] = part.String()
	}
	return string(p.Arrivals) + " " + strings.Join(parts, ", ")
}

// String is the text of a part.
func (p Part) String() string {
	text := p.rates() + " for " + short(p.Duration)
	if p.Warmup {
		text = "warm-up " + text
	}
	return text
}

func (p Part) rates() string {
	text := perSecond(p.Rate)
	if p.Period != 0 || p.end() != p.Rate {
		text += " to " + perSecond(p.end())
	}
	if p.Period != 0 {
		text += " every " + short(p.Period)
	}
	return text
}

func (p Part) name() string {
	switch {
	case p.Name != "":
		return p.Name
	case p.Warmup:
		return "warm-up"
	default:
		return p.rates()
	}
}

func perSecond(rate float64) string { return strconv.FormatFloat(rate, 'f', -1, 64) + "/s" }

// short is d without the zeros at its end: 1m, not 1m0s.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
