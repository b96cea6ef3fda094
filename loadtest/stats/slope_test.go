package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

// memory is the resident memory, in MB at minutes, of a server with a garbage collector: it
// settles in the first minute, saws by 12 MB every 7 s, wanders, and now and then takes a step that
// it gives back later.
func memory(r *rand.Rand, minutes, leak float64) []Point {
	var points []Point
	wander, step := 0.0, 0.0
	for s := 0.0; s < minutes*60; s++ {
		wander = 0.95*wander + 0.15*r.NormFloat64()
		if r.IntN(20) == 0 {
			step = 0.5 * float64(r.IntN(3))
		}
		saw := 12 * math.Mod(s, 7) / 7
		points = append(points, Point{s / 60, 180 - 20*math.Exp(-s/25) + saw + wander + step + leak*s/60})
	}
	return points
}

func TestSlopeTellsALeakFromNoise(t *testing.T) {
	const trials = 200
	for _, c := range []struct {
		name string
		leak float64 // MB a minute
		want Verdict
		most int // trials with another verdict
	}{
		{"healthy", 0, Same, 10},
		{"leaks 1 MB a minute", 1, Changed, 10},
		{"leaks 5 MB a minute", 5, Changed, 0},
	} {
		r := rand.New(rand.NewPCG(7, 7))
		verdicts := map[Verdict]int{}
		for range trials {
			slope, ok := Slope(memory(r, 10, c.leak))
			if !ok {
				t.Fatalf("%s: no slope", c.name)
			}
			verdicts[slope.Judge(0.75)]++
		}
		if verdicts[c.want] < trials-c.most {
			t.Errorf("%s: verdicts are %v, want %q but for %d", c.name, verdicts, c.want, c.most)
		}
		if c.leak == 0 && verdicts[Changed] > trials/40 {
			t.Errorf("healthy: accused %d times of %d", verdicts[Changed], trials)
		}
	}
}

func TestSlope(t *testing.T) {
	line := make([]Point, 100)
	for i := range line {
		line[i] = Point{float64(i), 3 + 2*float64(i)}
	}
	flat := make([]Point, 100)
	for i := range flat {
		flat[i] = Point{float64(i), 5}
	}
	for _, c := range []struct {
		name   string
		points []Point
		want   float64
		ok     bool
	}{
		{"a line", line, 2, true},
		{"nothing happens", flat, 0, true},
		{"too few", line[:58], 0, false},
		{"none", nil, 0, false},
		{"one time", make([]Point, 100), 0, false},
	} {
		got, ok := Slope(c.points)
		if ok != c.ok || ok && (math.Abs(got.Estimate-c.want) > 1e-9 || got.Low > got.Estimate || got.High < got.Estimate) {
			t.Errorf("%s: Slope = %v, %v, want %v, %v", c.name, got, ok, c.want, c.ok)
		}
		if !ok && got.Judge(1) != CannotTell {
			t.Errorf("%s: %v is judged %q, want that it cannot tell", c.name, got, got.Judge(1))
		}
	}
}

// A server whose memory only wanders, and slowly, is hard to tell from one that leaks: it may be
// that nothing can be said, but it is not accused.
func TestSlopeDoesNotTakeASlowSwingForALeak(t *testing.T) {
	const trials = 400
	r := rand.New(rand.NewPCG(3, 3))
	accused := 0
	for range trials {
		wander := 0.0
		points := make([]Point, 600)
		for s := range points {
			wander = 0.985*wander + r.NormFloat64()
			points[s] = Point{float64(s) / 60, 100 + wander}
		}
		if slope, ok := Slope(points); !ok || slope.Judge(0.75) == Changed {
			accused++
		}
	}
	if accused > trials/25 {
		t.Errorf("accused %d times of %d, want at most 1 in 25", accused, trials)
	}
}
