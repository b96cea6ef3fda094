package result

import (
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// run is a run of n windows and two steps.
func run(n int) *Run {
	random := rand.New(rand.NewPCG(1, 2))
	latency := func(count int) *Latency {
		l := &Latency{NewHistogram(), NewHistogram()}
		for range count {
			d := time.Duration(random.ExpFloat64() * float64(5*time.Millisecond))
			l.Intended.Record(d + time.Millisecond)
			l.Sent.Record(d)
		}
		return l
	}
	r := &Run{
		Asked:     Asked{Target: "http://127.0.0.1:8000", Model: "demo", Body: "json", Profile: "poisson 100/s", Seed: 7, Timeout: time.Second, Cache: "bypass"},
		Began:     time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Took:      time.Duration(n)*time.Second - 500*time.Millisecond,
		Generator: Generator{Sent: 1000, Late: 1, Delay: latency(10).Sent, CPU: time.Second},
		Server:    Server{Hits: 1, Lookups: 4, Memory: 1 << 20},
		Steps: []Step{
			{Name: "50 %", Duration: 2 * time.Second, Rate: 50, Rows: 100, Arrived: 100, Outcomes: map[Outcome]*Latency{OK: latency(100)}},
			{Name: "100 %", Duration: 2 * time.Second, Rate: 100, Rows: 190, Arrived: 190, Outcomes: map[Outcome]*Latency{OK: latency(190), Late: latency(10)}},
		},
	}
	for i := range n {
		w := Window{Begin: time.Duration(i) * time.Second, Offered: 11, Outcomes: map[Outcome]uint64{OK: 8, Late: 3}, OK: latency(8).Intended, Inflight: i}
		w.OK.Pack()
		r.Windows = append(r.Windows, w)
	}
	return r
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-3*math.Abs(b) }

func TestHistogramQuantiles(t *testing.T) {
	h := NewHistogram()
	for i := 1; i <= 1000; i++ {
		h.Record(time.Duration(i) * time.Millisecond)
	}
	check := func(t *testing.T) {
		for q, want := range map[float64]time.Duration{0.5: 500, 0.9: 900, 0.99: 990, 0.999: 999, 1: 1000} {
			if got := h.Quantile(q); !near(float64(got), float64(want*time.Millisecond)) {
				t.Errorf("Quantile(%v) = %v, want %v", q, got, want*time.Millisecond)
			}
		}
		if got := h.Mean(); !near(float64(got), 500.5e6) {
			t.Errorf("Mean() = %v, want 500.5ms", got)
		}
		if got := h.Within(250 * time.Millisecond); got != 250 {
			t.Errorf("Within(250ms) = %d, want 250", got)
		}
		if got := h.Count(); got != 1000 {
			t.Errorf("Count() = %d, want 1000", got)
		}
	}
	t.Run("as recorded", check)
	h.Pack()
	h.Pack()
	t.Run("packed", check)
	h.Merge(nil)
	t.Run("after a merge of nothing", check)
	if h.Record(time.Hour); h.Count() != 1001 || h.Within(250*time.Millisecond) != 250 {
		t.Errorf("recording in a packed histogram leaves %d durations, want 1001", h.Count())
	}
}

func TestHistogramRange(t *testing.T) {
	for _, c := range []struct {
		name       string
		give, want time.Duration
	}{
		{"negative", -time.Second, time.Microsecond},
		{"zero", 0, time.Microsecond},
		{"the shortest", time.Microsecond, time.Microsecond},
		{"the longest", time.Hour, time.Hour},
		{"too long", 25 * time.Hour, time.Hour},
	} {
		h := NewHistogram()
		h.Record(c.give)
		if got := h.Max(); (got - c.want).Abs() > c.want/1000+512 {
			t.Errorf("%s: Record(%v) counts as %v, want %v", c.name, c.give, got, c.want)
		}
	}
}

func TestHistogramNilIsEmpty(t *testing.T) {
	for name, h := range map[string]*Histogram{"nil": nil, "new": NewHistogram(), "clone of nil": (*Histogram)(nil).Clone()} {
		if h.Count() != 0 || h.Quantile(0.99) != 0 || h.Max() != 0 || h.Mean() != 0 || h.Within(time.Hour) != 0 || h.Curve() != nil || h.Bars() != nil {
			t.Errorf("%s: has counts", name)
		}
	}
}

func TestHistogramMergeIsAsIfRecordedTogether(t *testing.T) {
	forms := map[string]func(*Histogram){"as recorded": func(*Histogram) {}, "packed": (*Histogram).Pack}
	for nameA, formA := range forms {
		for nameB, formB := range forms {
			a, b, both := NewHistogram(), NewHistogram(), NewHistogram()
			for i := range 500 {
				d := time.Duration(i*i) * time.Microsecond
				both.Record(d)
				if i%3 == 0 {
					a.Record(d)
				} else {
					b.Record(d)
				}
			}
			formA(a)
			formB(b)
			a.Merge(b)
			if got, want := text(t, a), text(t, both); got != want {
				t.Errorf("%s merged with %s = %s, want %s", nameA, nameB, got, want)
			}
			if b.RecordN(time.Second, 2); b.Quantile(1) < time.Second {
				t.Errorf("%s: nothing can be recorded after a merge", nameB)
			}
			if got, want := text(t, a), text(t, both); got != want {
				t.Errorf("%s merged with %s shares counts with it", nameA, nameB)
			}
		}
	}
}

func text(t *testing.T, h *Histogram) string {
	t.Helper()
	b, err := h.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestHistogramCurve(t *testing.T) {
	h := NewHistogram()
	h.RecordN(time.Millisecond, 900)
	h.RecordN(time.Second, 100)
	points := h.Curve()
	first, last := points[0], points[len(points)-1]
	if first.Quantile != 0 || last.Quantile != 1 || !near(float64(last.Value), 1e9) {
		t.Errorf("Curve() goes from %v to %v, want from 0 to a second at 1", first, last)
	}
	for i := 1; i < len(points); i++ {
		if points[i].Quantile <= points[i-1].Quantile || points[i].Value < points[i-1].Value {
			t.Errorf("Curve() falls from %v to %v", points[i-1], points[i])
		}
	}
}

func TestHistogramBars(t *testing.T) {
	h := NewHistogram()
	h.RecordN(0, 3)
	h.RecordN(1500*time.Microsecond, 5)
	h.RecordN(2*time.Hour, 7)
	var n uint64
	bars := h.Bars()
	for i, b := range bars {
		n += b.Count
		if i > 0 && b.From != bars[i-1].To {
			t.Errorf("bar %d begins at %v, the one before ends at %v", i, b.From, bars[i-1].To)
		}
		if b.Count == 5 && (b.From > 1500*time.Microsecond || b.To <= 1500*time.Microsecond) {
			t.Errorf("1.5ms is in the bar from %v to %v", b.From, b.To)
		}
	}
	if n != 15 || bars[0].Count != 3 || bars[len(bars)-1].Count != 7 {
		t.Errorf("Bars() = %v, want 3 in the first, 5, and 7 in the last", bars)
	}
}

func TestHistogramUnmarshalRefuses(t *testing.T) {
	tooMany := NewHistogram()
	tooMany.RecordN(time.Second, 1<<53+1)
	good := text(t, NewHistogram())
	coarse, err := hdrhistogram.New(int64(shortest), int64(longest), 2).Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		t.Fatal(err)
	}
	for name, give := range map[string]string{
		"nothing":            "",
		"no base64":          "?" + good[1:],
		"half of one":        good[:len(good)/2],
		"a flipped letter":   good[:20] + "A" + good[21:],
		"another range":      "HISTFAAAABx4nJNpmSzMwMDAxAABzFCaEURcm7yEwf4DRGB+HwMAnvQGrw==",
		"fewer digits":       string(coarse),
		"too many durations": text(t, tooMany),
	} {
		if err := new(Histogram).UnmarshalText([]byte(give)); err == nil || !strings.HasPrefix(err.Error(), "histogram: ") {
			t.Errorf("%s: UnmarshalText() = %v, want an error", name, err)
		}
	}
}

func TestStepFigures(t *testing.T) {
	l := func(n uint64, d time.Duration) *Latency {
		h := NewHistogram()
		h.RecordN(d, n)
		return &Latency{h, h}
	}
	ok := l(60, time.Millisecond)
	ok.Intended.RecordN(time.Second, 20)
	s := Step{Duration: 4 * time.Second, Arrived: 60, Outcomes: map[Outcome]*Latency{OK: ok, Rejected: l(15, time.Millisecond), Wrong: l(5, time.Millisecond)}}
	if got := s.Achieved(); got != 15 {
		t.Errorf("Achieved() = %v, want 15", got)
	}
	if got := s.Goodput(10 * time.Millisecond); got != 15 {
		t.Errorf("Goodput(10ms) = %v, want 15", got)
	}
	if got := s.ErrorShare(); got != 0.2 {
		t.Errorf("ErrorShare() = %v, want 0.2", got)
	}
	if got := (Step{}).Achieved() + (Step{}).ErrorShare() + float64((Step{}).Total()); got != 0 {
		t.Errorf("figures of no step = %v, want 0", got)
	}
}

func TestRunTotal(t *testing.T) {
	total := run(3).Total()
	if total.Rate != 75 || total.Duration != 4*time.Second || total.Count(OK) != 290 || total.Count(Late) != 10 || total.Rows != 290 {
		t.Errorf("Total() = %+v, want 290 of 300 at 75/s in 4s", total)
	}
}

func TestHitRatioOfAServerWithoutCache(t *testing.T) {
	if ratio, ok := (Server{Hits: 1, Lookups: 4}).HitRatio(); ratio != 0.25 || !ok {
		t.Errorf("HitRatio() = %v, %v, want 0.25, true", ratio, ok)
	}
	if _, ok := (Server{}).HitRatio(); ok {
		t.Error("HitRatio() of no lookups is known")
	}
}

func TestMergeRepetitions(t *testing.T) {
	a, b := run(3), run(2)
	b.Asked.Seed, b.Began = 8, a.Began.Add(-time.Hour)
	b.Steps = b.Steps[:1]
	b.Stopped, b.Invalid = "p99 over 1s", []string{"2 sends dropped"}
	m, err := Merge(a, b)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Steps) != 2 || m.Steps[0].Duration != 4*time.Second || m.Steps[0].Count(OK) != 200 || m.Steps[1].Count(OK) != 190 {
		t.Errorf("steps of the merged run = %+v, want 200 and 190 answers", m.Steps)
	}
	if len(m.Windows) != 5 || m.Windows[3].Begin != 2500*time.Millisecond || m.Length(2) != 500*time.Millisecond || m.Length(4) != 500*time.Millisecond {
		t.Errorf("windows of the merged run do not follow one another: %+v", m.Windows)
	}
	if m.Took != 4*time.Second || !m.Began.Equal(b.Began) || m.Generator.Sent != 2000 || m.Generator.Delay.Count() != 20 || m.Server.Lookups != 8 || m.Server.Memory != 1<<20 {
		t.Errorf("merged run = %+v", m)
	}
	if m.Stopped != "run 2: p99 over 1s" || !reflect.DeepEqual(m.Invalid, []string{"run 2: 2 sends dropped"}) {
		t.Errorf("merged run is invalid because of %q, stopped because of %q", m.Invalid, m.Stopped)
	}
	if a.Steps[0].Count(OK) != 100 {
		t.Error("a merge changed its first run")
	}
}

func TestMergeKeepsStepsOfOtherRatesApart(t *testing.T) {
	a, b := run(1), run(1)
	b.Asked.Seed, b.Steps[0].Rate = 8, 51
	if m, err := Merge(a, b); err != nil || len(m.Steps) != 3 {
		t.Errorf("Merge() = %+v, %v, want three steps", m, err)
	}
}

func TestRunLengthOfWindows(t *testing.T) {
	r := &Run{Took: 9 * time.Second, Windows: []Window{{}, {Begin: 900 * time.Millisecond}, {Begin: 2 * time.Second}}}
	for i, want := range []time.Duration{900 * time.Millisecond, 1100 * time.Millisecond, time.Second} {
		if got := r.Length(i); got != want {
			t.Errorf("Length(%d) = %v, want %v", i, got, want)
		}
	}
}

func TestMergeRefusesWhatWasAskedOtherwise(t *testing.T) {
	fields := reflect.TypeFor[Asked]()
	for i := range fields.NumField() {
		name := fields.Field(i).Name
		if name == "Seed" {
			continue
		}
		a, b := run(1), run(1)
		switch f := reflect.ValueOf(&b.Asked).Elem().Field(i); f.Kind() {
		case reflect.String:
			f.SetString("other")
		case reflect.Bool:
			f.SetBool(!f.Bool())
		default:
			f.SetInt(f.Int() + 1)
		}
		if _, err := Merge(a, b); err == nil || !strings.Contains(err.Error(), "run 2 was not asked for the same as run 1: ") {
			t.Errorf("Merge() of runs with different %s = %v, want an error", name, err)
		}
	}
	if _, err := Merge(run(1), run(1)); err == nil || !strings.Contains(err.Error(), "run 2 is run 1 again") {
		t.Errorf("Merge() of a run with itself = %v, want an error", err)
	}
	if _, err := Merge(); err == nil {
		t.Error("Merge() of no runs = nil, want an error")
	}
}
