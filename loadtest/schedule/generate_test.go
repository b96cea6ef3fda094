package schedule

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

func made(t *testing.T, p Profile, seed uint64) Schedule {
	t.Helper()
	s, err := p.Schedule(seed)
	if err != nil {
		t.Fatalf("%v: %v", p, err)
	}
	return s
}

var profiles = []Profile{
	Constant(1000, 10*time.Second),
	Poisson(1000, 10*time.Second),
	Bursty(1000, 10*time.Second),
	Ramp(0, 1000, 10*time.Second),
	Ramp(1000, 0, 10*time.Second),
	Sine(0, 1000, 3*time.Second, 10*time.Second),
	Steps(Even, time.Second, 10, 20, 1000),
	Spike(50, 1000, 500*time.Millisecond, time.Second),
	{Clustered, []Part{{Rate: 0, To: 1000, Duration: 5 * time.Second}, {Rate: 1000, To: 100, Period: time.Second, Duration: 5 * time.Second}}},
}

func TestStartsAscendWithinTheirSteps(t *testing.T) {
	for _, p := range profiles {
		s := made(t, p, 7)
		if !slices.IsSorted(s.Starts) {
			t.Errorf("%v: starts do not ascend", p)
		}
		if first, last := s.Starts[0], s.Starts[len(s.Starts)-1]; first < 0 || last >= s.Steps[len(s.Steps)-1].End {
			t.Errorf("%v: starts from %v to %v, steps until %v", p, first, last, s.Steps[len(s.Steps)-1].End)
		}
		var end time.Duration
		for _, step := range s.Steps {
			if step.Begin != end || step.End <= step.Begin {
				t.Errorf("%v: step %+v does not follow %v", p, step, end)
			}
			end = step.End
		}
	}
}

func TestSeedDecidesAllAndNothingElseDoes(t *testing.T) {
	for _, p := range profiles {
		a, b, c := made(t, p, 7), made(t, p, 7), made(t, p, 8)
		if !slices.Equal(a.Starts, b.Starts) {
			t.Errorf("%v: two schedules of a seed differ", p)
		}
		if p.Arrivals != Even && slices.Equal(a.Starts, c.Starts) {
			t.Errorf("%v: schedules of two seeds are equal", p)
		}
	}
}

// The first starts of a seed are part of what is promised: a run can be repeated by later versions.
func TestStartsStayTheSame(t *testing.T) {
	for _, c := range []struct {
		p    Profile
		want []time.Duration
	}{
		{Constant(1000, time.Second), []time.Duration{0, 1e6, 2e6, 3e6}},
		{Poisson(1000, time.Second), []time.Duration{317296, 354089, 1377706, 2345858}},
		{Bursty(1000, time.Second), []time.Duration{634593, 2570896, 6908798, 7191317}},
	} {
		if got := made(t, c.p, 42).Starts[:len(c.want)]; !slices.Equal(got, c.want) {
			t.Errorf("%v begins with %d, want %d", c.p, got, c.want)
		}
	}
}

// counts is how many starts lie in each interval of a length.
func counts(s Schedule, length time.Duration) []float64 {
	n := make([]float64, s.Steps[len(s.Steps)-1].End/length)
	for _, start := range s.Starts {
		if i := int(start / length); i < len(n) {
			n[i]++
		}
	}
	return n
}

func meanAndVariance(values []float64) (mean, variance float64) {
	for _, v := range values {
		mean += v / float64(len(values))
	}
	for _, v := range values {
		variance += (v - mean) * (v - mean) / float64(len(values)-1)
	}
	return mean, variance
}

func TestStatisticsOfArrivals(t *testing.T) {
	const rate, interval = 1000.0, 100 * time.Millisecond
	// Of the two-state process with swings of a share a about rate λ and stays of mean s, the counts
	// of intervals of length t have the dispersion 1 + λ·a²·s·(1 − (1 − e^(−2t/s))·s/(2t)).
	stay, length := burstStay.Seconds(), interval.Seconds()
	bursty := 1 + rate*burstSwing*burstSwing*stay*(1-(1-math.Exp(-2*length/stay))*stay/(2*length))
	for _, c := range []struct {
		name       string
		p          Profile
		rateWithin float64
		dispersion float64 // of counts: variance over mean
		variation  float64 // of gaps: deviation over mean; -1 for bursts, which show in the counts
		tolerance  float64
	}{
		{"constant", Constant(rate, 300*time.Second), 1e-6, 0, 0, 0.001},
		{"poisson", Poisson(rate, 300*time.Second), 0.006, 1, 1, 0.08},
		{"bursty", Bursty(rate, 300*time.Second), 0.05, bursty, -1, 0.1},
	} {
		s := made(t, c.p, 1)
		mean, variance := meanAndVariance(counts(s, interval))
		if got := mean / interval.Seconds(); math.Abs(got/rate-1) > c.rateWithin {
			t.Errorf("%s: %.1f starts per second, want %v", c.name, got, rate)
		}
		if got := variance / mean; math.Abs(got-c.dispersion) > c.tolerance*max(1, c.dispersion) {
			t.Errorf("%s: counts have a dispersion of %.3f, want %.3f", c.name, got, c.dispersion)
		}
		if c.variation < 0 {
			continue
		}
		gaps := make([]float64, len(s.Starts)-1)
		for i := range gaps {
			gaps[i] = (s.Starts[i+1] - s.Starts[i]).Seconds()
		}
		mean, variance = meanAndVariance(gaps)
		if got := math.Sqrt(variance) / mean; math.Abs(got-c.variation) > c.tolerance {
			t.Errorf("%s: gaps vary by %.3f of their mean, want %.3f", c.name, got, c.variation)
		}
	}
}

func TestStartsFollowTheRate(t *testing.T) {
	for _, a := range []Arrivals{Even, Independent} {
		for _, part := range []Part{
			{Rate: 100, To: 2000, Duration: 20 * time.Second},
			{Rate: 2000, To: nothing, Duration: 20 * time.Second},
			{Rate: 100, To: 2000, Period: 5 * time.Second, Duration: 20 * time.Second},
			{Rate: 700, Duration: 20 * time.Second},
		} {
			s := made(t, Profile{a, []Part{part}}, 3)
			mean, deviation := part.Mean()*20, 5*math.Sqrt(part.Mean()*20)
			if a == Even {
				deviation = 5
			}
			if got := float64(len(s.Starts)); math.Abs(got-mean) > deviation {
				t.Errorf("%s %v: %v starts, want %.0f ± %.0f", a, part, got, mean, deviation)
			}
			for i, got := range counts(s, time.Second) {
				want := part.at(time.Duration(i)*time.Second + time.Second/2)
				if math.Abs(got-want) > 5*math.Sqrt(want)+0.08*2000 {
					t.Errorf("%s %v: %v starts in second %d, want about %.0f", a, part, got, i, want)
				}
			}
		}
	}
}

func TestStepsAreNamedAndCounted(t *testing.T) {
	s := made(t, Profile{Even, []Part{
		{Rate: 10, Duration: time.Second, Warmup: true},
		{Rate: 10, Duration: time.Second},
		{Rate: 10, To: 30, Duration: time.Second},
		{Rate: 10, Duration: time.Second},
		{Name: "last", Rate: 0.5, Duration: 2 * time.Second},
	}}, 0)
	want := []Step{
		{"warm-up", 0, 1e9, 10, true}, {"10/s", 1e9, 2e9, 10, false}, {"10/s to 30/s", 2e9, 3e9, 20, false},
		{"10/s (2)", 3e9, 4e9, 10, false}, {"last", 4e9, 6e9, 0.5, false},
	}
	if !slices.Equal(s.Steps, want) {
		t.Errorf("steps are %+v, want %+v", s.Steps, want)
	}
	if len(s.Starts) != 51 {
		t.Errorf("%d starts, want 51", len(s.Starts))
	}
}

func TestTraceIsReplayedFaster(t *testing.T) {
	s, err := Trace([]time.Duration{4e9, 0, 1e9}, 2)
	if err != nil {
		t.Fatal(err)
	}
	if want := []time.Duration{0, 5e8, 2e9}; !slices.Equal(s.Starts, want) {
		t.Errorf("starts are %v, want %v", s.Starts, want)
	}
	if want := (Step{Name: "trace x2", End: 2e9 + 1, Rate: 3 / 2.000000001}); len(s.Steps) != 1 || s.Steps[0] != want {
		t.Errorf("steps are %+v, want %+v", s.Steps, want)
	}
}

func TestTraceRefuses(t *testing.T) {
	for _, c := range []struct {
		name    string
		offsets []time.Duration
		speed   float64
		want    string
	}{
		{"no starts", nil, 1, "no starts"},
		{"too many starts", make([]time.Duration, MaxStarts+1), 1, "at most 50000000"},
		{"a start before the beginning", []time.Duration{-1}, 1, "before it began"},
		{"no speed", []time.Duration{1}, 0, "speed"},
		{"a speed that is no number", []time.Duration{1}, math.NaN(), "speed"},
		{"too long", []time.Duration{48 * time.Hour}, 1, "24h"},
	} {
		if _, err := Trace(c.offsets, c.speed); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}

func TestProfileRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		p    Profile
		want string
	}{
		{"unknown arrivals", Profile{"even", Constant(1, 1e9).Parts}, "constant, poisson or bursty"},
		{"no parts", Profile{Arrivals: Even}, "1 to 1000 parts"},
		{"too many parts", Steps(Even, time.Millisecond, make([]float64, MaxParts+1)...), "1 to 1000 parts"},
		{"no rate", Poisson(0, 1e9), "sends nothing"},
		{"a negative rate", Poisson(-1, 1e9), "between 0"},
		{"a rate that is no number", Poisson(math.NaN(), 1e9), "between 0"},
		{"too high a rate", Poisson(MaxRate+1, 1e9), "between 0"},
		{"no duration", Poisson(1, 0), "lasts"},
		{"too long", Poisson(1, MaxDuration+1), "lasts"},
		{"too long together", Steps(Even, MaxDuration, 1, 1), "longer than"},
		{"too many starts", Poisson(MaxRate, 51*time.Second), "50000000"},
		{"too short a period", Sine(1, 2, time.Millisecond, 1e9), "period"},
		{"a period longer than its part", Sine(1, 2, 2e9, 1e9), "period"},
		{"nothing but warm-up", Profile{Even, []Part{{Rate: 1, Duration: 1e9, Warmup: true}}}, "warm-up"},
		{"no start by chance", Poisson(0.001, time.Millisecond), "no start"},
	} {
		if _, err := c.p.Schedule(1); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}

func TestScheduleTakesEightBytesAStart(t *testing.T) {
	for _, p := range profiles {
		s := made(t, p, 1)
		if limit := int(1.1*float64(len(s.Starts))) + 1000; cap(s.Starts) > limit {
			t.Errorf("%v: room for %d starts, want at most %d for %d", p, cap(s.Starts), limit, len(s.Starts))
		}
	}
}

func BenchmarkPoisson(b *testing.B) {
	for b.Loop() {
		if _, err := Poisson(10000, 10*time.Second).Schedule(1); err != nil {
			b.Fatal(err)
		}
	}
}

func TestWarmUp(t *testing.T) {
	p, err := Parse("constant 10/s for 1s, 20/s for 1s")
	if err != nil {
		t.Fatal(err)
	}
	warm, err := p.WarmUp(2 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	s, err := warm.Schedule(1)
	if err != nil || len(s.Steps) != 3 || !s.Steps[0].Warmup || s.Steps[1].Warmup || s.Steps[1].Begin != 2*time.Second || len(s.Starts) != 50 {
		t.Errorf("Schedule = %+v, %v, want 2 s at 10/s before what was asked for", s.Steps, err)
	}
	if again, err := warm.WarmUp(time.Second); err == nil {
		t.Errorf("WarmUp of %v = %v, want an error: it has one", warm, again)
	}
	if none, err := (Profile{}).WarmUp(time.Second); err == nil {
		t.Errorf("WarmUp of nothing = %v, want an error", none)
	}
	ramp, err := Ramp(0, 100, time.Second).WarmUp(time.Second)
	if err != nil || ramp.Check() != nil {
		t.Errorf("WarmUp of a ramp from 0 = %v, %v, want a profile that can be", ramp, err)
	}
}

func TestWarmUpOfAReplay(t *testing.T) {
	trace, err := Trace([]time.Duration{0, time.Second, 2 * time.Second, 3 * time.Second}, 1)
	if err != nil {
		t.Fatal(err)
	}
	s, err := trace.WarmUp(1500 * time.Millisecond)
	if err != nil || len(s.Starts) != 4 || len(s.Steps) != 2 || !s.Steps[0].Warmup || s.Steps[0].End != 1500*time.Millisecond ||
		s.Steps[1].Warmup || s.Steps[1].Begin != s.Steps[0].End || s.Steps[1].End != 3*time.Second+1 || s.Steps[0].Name == s.Steps[1].Name {
		t.Errorf("WarmUp = %+v, %v, want the same starts, of which the first 1.5 s are not counted", s.Steps, err)
	}
	if s, err := trace.WarmUp(4 * time.Second); err == nil {
		t.Errorf("WarmUp longer than all = %+v, want an error", s.Steps)
	}
}
