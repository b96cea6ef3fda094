package schedule

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

const (
	// burstStay is how long bursty arrivals stay at one of their rates, on average.
	burstStay = 200 * time.Millisecond
	// burstSwing is how far bursty arrivals go from their mean to either side, as a share of it.
	burstSwing = 0.5
	// sinePieces straight pieces are a period of a sine, to 0.12 % of its swing.
	sinePieces = 64
)

// Schedule computes the intended starts. The same profile and seed make the same ones, on every
// machine of one kind of processor. A profile that makes none is an error.
func (p Profile) Schedule(seed uint64) (Schedule, error) {
	if err := p.Check(); err != nil {
		return Schedule{}, err
	}
	s := Schedule{Profile: p.String(), Seed: seed}
	var begin time.Duration
	var starts float64
	for _, part := range p.Parts {
		s.Steps = append(s.Steps, Step{Name: part.name(), Begin: begin, End: begin + part.Duration, Rate: part.Mean(), Warmup: part.Warmup})
		begin += part.Duration
		starts += part.Mean() * part.Duration.Seconds()
	}
	nameApart(s.Steps)
	// Five standard deviations more than the mean, so that it is hardly ever copied.
	s.Starts = make([]time.Duration, 0, int(starts+5*math.Sqrt(starts))+16)
	w := newWalk(p.Arrivals, seed)
	begin = 0
	for _, part := range p.Parts {
		for _, piece := range part.pieces() {
			s.Starts = w.piece(s.Starts, piece, begin)
		}
		begin += part.Duration
	}
	if len(s.Starts) == 0 {
		return Schedule{}, fmt.Errorf("%s has no start: make its rate or its duration larger", s.Profile)
	}
	return s, nil
}

// nameApart makes names unique.
func nameApart(steps []Step) {
	seen := map[string]int{}
	for i := range steps {
		name := steps[i].Name
		if seen[name]++; seen[name] > 1 {
			steps[i].Name = fmt.Sprintf("%s (%d)", name, seen[name])
		}
	}
}

// piece is a stretch of time in which the rate follows a straight line.
type piece struct {
	begin, end time.Duration // within its part
	from, to   float64
}

// area is the number of starts on average.
func (p piece) area() float64 { return (p.from + p.to) / 2 * (p.end - p.begin).Seconds() }

// cut returns the piece between two times of its part.
func (p piece) cut(begin, end time.Duration) piece {
	at := func(t time.Duration) float64 {
		return p.from + (p.to-p.from)*(t-p.begin).Seconds()/(p.end-p.begin).Seconds()
	}
	return piece{begin, end, at(begin), at(end)}
}

// where is the time by which the area reaches y, which is not more than all of it.
func (p piece) where(y float64) time.Duration {
	if y == 0 {
		return p.begin
	}
	slope := (p.to - p.from) / (p.end - p.begin).Seconds()
	// The root of from·x + slope·x²/2 = y in the form that loses no digits when the slope is small.
	x := 2 * y / (p.from + math.Sqrt(max(0, p.from*p.from+2*slope*y)))
	return min(p.begin+time.Duration(x*1e9+0.5), p.end-1)
}

func (p Part) pieces() []piece {
	if p.Period == 0 {
		return []piece{{0, p.Duration, p.Rate, p.end()}}
	}
	var pieces []piece
	for i := 0; ; i++ {
		begin := time.Duration(float64(i) * float64(p.Period) / sinePieces)
		if begin >= p.Duration {
			return pieces
		}
		end := min(time.Duration(float64(i+1)*float64(p.Period)/sinePieces), p.Duration)
		pieces = append(pieces, piece{begin, end, p.at(begin), p.at(end)})
	}
}

// walk goes along the pieces of a profile. Starts that come one at a unit of area, or by exponential
// steps of one on average, have the rate of the pieces when they are mapped to time.
type walk struct {
	arrivals Arrivals
	random   *rand.PCG
	need     float64 // area until the next start
	high     bool    // bursty arrivals are above their mean
	stay     time.Duration
}

func newWalk(a Arrivals, seed uint64) *walk {
	w := &walk{arrivals: a, random: rand.NewPCG(seed, 0x7468_7275_6d)}
	if a != Even {
		w.need = w.exponential()
	}
	if a == Clustered {
		w.high = w.random.Uint64()&1 == 0
		w.stay = w.sojourn()
	}
	return w
}

// exponential returns a random number with a mean of 1.
func (w *walk) exponential() float64 {
	return -math.Log(float64(w.random.Uint64()>>11|1) / (1 << 53))
}

func (w *walk) sojourn() time.Duration {
	return max(time.Duration(w.exponential()*float64(burstStay)), 1)
}

// piece appends the starts of a piece of a part that begins at a time.
func (w *walk) piece(starts []time.Duration, p piece, part time.Duration) []time.Duration {
	if w.arrivals != Clustered {
		return w.line(starts, p, part)
	}
	for p.begin < p.end {
		end := min(p.end, p.begin+w.stay)
		factor := 1 - burstSwing
		if w.high {
			factor = 1 + burstSwing
		}
		now := p.cut(p.begin, end)
		now.from, now.to = now.from*factor, now.to*factor
		starts = w.line(starts, now, part)
		if w.stay -= end - p.begin; w.stay == 0 {
			w.high, w.stay = !w.high, w.sojourn()
		}
		if end == p.end {
			break
		}
		p = p.cut(end, p.end)
	}
	return starts
}

// line appends the starts of a piece at its own rate.
func (w *walk) line(starts []time.Duration, p piece, part time.Duration) []time.Duration {
	area := p.area()
	for w.need < area {
		starts = append(starts, part+p.where(w.need))
		if w.arrivals == Even {
			w.need++
		} else {
			w.need += w.exponential()
		}
	}
	w.need -= area
	return starts
}

// Trace replays recorded starts, speed times as fast. They are offsets from the beginning of the
// recording and need not be in order.
func Trace(offsets []time.Duration, speed float64) (Schedule, error) {
	switch {
	case len(offsets) == 0:
		return Schedule{}, fmt.Errorf("the recording has no starts")
	case len(offsets) > MaxStarts:
		return Schedule{}, fmt.Errorf("the recording has %d starts, at most %d can be: replay a part of it", len(offsets), MaxStarts)
	case !(speed > 0 && speed <= 1e6):
		return Schedule{}, fmt.Errorf("the speed of a replay is above 0, such as 2 for twice as fast, not %g", speed)
	}
	starts := slices.Clone(offsets)
	slices.Sort(starts)
	if starts[0] < 0 {
		return Schedule{}, fmt.Errorf("the recording has a start at %v, before it began", starts[0])
	}
	last := float64(starts[len(starts)-1]) / speed
	if last >= float64(MaxDuration) {
		return Schedule{}, fmt.Errorf("the replay would last longer than %v: replay it faster, or a part of it", MaxDuration)
	}
	for i := range starts {
		starts[i] = time.Duration(float64(starts[i]) / speed)
	}
	end := starts[len(starts)-1] + 1
	name := fmt.Sprintf("trace x%g", speed)
	step := Step{Name: name, End: end, Rate: float64(len(starts)) / end.Seconds()}
	return Schedule{Profile: name, Starts: starts, Steps: []Step{step}}, nil
}

// WarmUp returns s with its first d not counted.
func (s Schedule) WarmUp(d time.Duration) (Schedule, error) {
	if end := s.Steps[len(s.Steps)-1].End; d >= end {
		return Schedule{}, fmt.Errorf("a warm-up of %v leaves nothing of the %v that %s lasts", d, end.Round(time.Millisecond), s.Profile)
	}
	var steps []Step
	for _, step := range s.Steps {
		if step.Begin < d {
			warm := step
			warm.Name, warm.End, warm.Warmup = "warm-up "+step.Name, min(step.End, d), true
			steps = append(steps, warm)
		}
		if step.End > d {
			step.Begin = max(step.Begin, d)
			steps = append(steps, step)
		}
	}
	s.Steps = steps
	s.Profile += fmt.Sprintf(" after a warm-up of its first %v", d)
	return s, nil
}
