package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// millis prints milliseconds with three digits, as columns that are headed "ms" have them.
func millis(v float64) string {
	switch {
	case v == 0:
		return "-"
	case v < 0.9995:
		return fmt.Sprintf("%.3f", v)
	case v < 9.995:
		return fmt.Sprintf("%.2f", v)
	case v < 99.95:
		return fmt.Sprintf("%.1f", v)
	default:
		return count(uint64(math.Round(v)))
	}
}

// perSecond prints a rate.
func perSecond(v float64) string {
	if v < 999.95 {
		return fmt.Sprintf("%.1f", v)
	}
	return count(uint64(math.Round(v)))
}

// askedWord prints a rate that was asked for; a closed loop asks for none.
func askedWord(v float64) string {
	if v == 0 {
		return "-"
	}
	return perSecond(v)
}

// percent prints a share of 1 with as many digits as are needed to tell small ones from none.
func percent(v float64) string {
	p := 100 * v
	switch {
	case p == 0:
		return "0 %"
	case math.Abs(p) < 0.01:
		return fmt.Sprintf("%.4f %%", p)
	case math.Abs(p) < 1:
		return fmt.Sprintf("%.2f %%", p)
	default:
		return fmt.Sprintf("%.1f %%", p)
	}
}

// count prints a number with commas.
func count(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// clock prints a time in a run, such as 1:02:03 or 0:07.
func clock(d time.Duration) string {
	s := int(d.Round(time.Second).Seconds())
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

func mebibytes(bytes uint64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20)) }

// figureWords are how figures of a comparison are printed.
var figureWords = map[string]struct {
	name  string
	print func(float64) string
}{
	"p50_ms":             {"p50, ms", millis},
	"p90_ms":             {"p90, ms", millis},
	"p99_ms":             {"p99, ms", millis},
	"p999_ms":            {"p99.9, ms", millis},
	"achieved_per_s":     {"achieved, 1/s", perSecond},
	"error_share":        {"not OK", percent},
	"cpu_per_request_us": {"CPU per request, us", func(v float64) string { return fmt.Sprintf("%.1f", v) }},
	"memory_bytes":       {"memory", func(v float64) string { return mebibytes(uint64(v)) }},
	"cache_hit_ratio":    {"cache hits", percent},
}

// between prints the interval of a change.
func between(low, high *float64) string {
	if low == nil || high == nil {
		return "-"
	}
	return fmt.Sprintf("%+.1f to %+.1f %%", *low, *high)
}

const betweenWords = "The interval is that of the shift between runs, with 95 % confidence (Hodges and Lehmann); it takes four runs of each."

// changed prints the change of a comparison.
func changed(p *float64) string {
	if p == nil {
		return "-"
	}
	return fmt.Sprintf("%+.1f %%", *p)
}

// plain takes from text that comes from outside what would act on a terminal or is none in HTML.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}

func plainAll(all []string) []string {
	words := make([]string, len(all))
	for i, s := range all {
		words[i] = plain(s)
	}
	return words
}

// asked says in a line what a run was.
func asked(a askedView) string {
	words := []string{modelWords(a) + " at " + a.Target, a.Body, a.Profile}
	if a.ClosedLoop {
		words = append(words, "CLOSED LOOP: a request waits for the one before, so that stalls of the server hide")
	}
	if a.WarmUpS > 0 {
		words = append(words, warmUpWords(a))
	}
	words = append(words, fmt.Sprintf("seed %d", a.Seed), "inputs: "+a.Inputs, "cache: "+a.Cache)
	if a.Headers != "" {
		words = append(words, "headers: "+a.Headers)
	}
	return strings.Join(words, ", ")
}

func warmUpWords(a askedView) string {
	if a.WarmUpS == 0 {
		return "none"
	}
	return fmt.Sprintf("the first %g s warm up and are not counted", a.WarmUpS)
}

func modelWords(a askedView) string {
	if a.Version == "" {
		return a.Model
	}
	return a.Model + " version " + a.Version
}

// verdictWord is the verdict in a word, and what it means.
func verdictWord(v verdictView) (word, meaning string) {
	switch v.Outcome {
	case Pass:
		return "PASS", "every check held"
	case Fail:
		return "FAIL", "a check did not hold"
	case Invalid:
		return "INVALID", "the figures below cannot be believed"
	case Unstable:
		return "UNSTABLE", "the figures do not tell: they scatter, or are too few"
	default:
		return "VALID", "the generator kept its schedule"
	}
}

// cacheWords says how often the cache answered.
func cacheWords(s serverView) string {
	switch {
	case s.CacheHitRatio != nil && s.CacheBypassed > 0:
		return fmt.Sprintf("%s (%s of %s lookups; %s requests went past it, as asked)", percent(*s.CacheHitRatio), count(s.CacheHits), count(s.CacheLookups), count(s.CacheBypassed))
	case s.CacheHitRatio != nil:
		return fmt.Sprintf("%s (%s of %s lookups)", percent(*s.CacheHitRatio), count(s.CacheHits), count(s.CacheLookups))
	case s.CacheBypassed > 0:
		return fmt.Sprintf("0 %% (bypassed: all %s requests went past it, as asked)", count(s.CacheBypassed))
	case s.Metrics:
		return "none: the server counts no cache of this model"
	default:
		return "not known: there were no metrics of the server"
	}
}

// spreadWords says what a generator of goroutines is worth. Measured in a closed loop of 64 on one machine, it
// takes 15 us of CPU a request, 25 with TLS, where the one thread takes 8.
func spreadWords(g generatorView) string {
	if !g.Spread {
		return ""
	}
	return "; by a goroutine for each connection, whose limit is a third (TLS) to a half of plain HTTP's"
}
