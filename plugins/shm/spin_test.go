package shm

import (
	"slices"
	"testing"
	"time"
)

// turn is a wait: whether the other end has been woken for it, how long it is to spin, and what
// becomes of that.
type turn struct {
	roused      bool
	want        time.Duration
	caught      bool
	interrupted bool
}

func TestSpinner(t *testing.T) {
	miss := func(want time.Duration) turn { return turn{want: want} }
	catch := func(want time.Duration) turn { return turn{want: want, caught: true} }
	interrupted := turn{want: maxSpin, interrupted: true}
	off := func(waits int) []turn { return slices.Repeat([]turn{{}}, waits) }
	for _, test := range []struct {
		name  string
		turns [][]turn
	}{
		{"as long as it pays", [][]turn{{catch(maxSpin), catch(maxSpin), catch(maxSpin)}}},
		{"half after a miss, twice after a catch", [][]turn{{miss(maxSpin), miss(maxSpin / 2), catch(maxSpin / 4), catch(maxSpin / 2), miss(maxSpin)}}},
		{"off after many misses, then on again", [][]turn{
			{miss(maxSpin), miss(maxSpin / 2), miss(maxSpin / 4), miss(maxSpin / 8), miss(maxSpin / 16)}, off(minOff), {miss(maxSpin)},
		}},
		{"who had to wake gets the time that takes", [][]turn{{miss(maxSpin), {roused: true, want: wakeSpin, caught: true}, miss(maxSpin)}}},
		{"off if even that is too little", [][]turn{{{roused: true, want: wakeSpin}}, slices.Repeat([]turn{{roused: true}}, minOff), {{roused: true, want: wakeSpin}}}},
		{"off while others have the processor, for longer each time", [][]turn{{interrupted}, off(minOff), {interrupted}, off(2 * minOff), {interrupted}, off(4 * minOff), {catch(maxSpin), interrupted}, off(4 * minOff)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSpinner(false)
			s.off = 0
			play(t, &s, slices.Concat(test.turns...))
		})
	}
	t.Run("never", func(t *testing.T) {
		play(t, &spinner{how: SpinNever, budget: maxSpin}, []turn{{}, {roused: true}})
	})
	t.Run("long", func(t *testing.T) {
		play(t, &spinner{how: SpinLong, off: 7}, []turn{{want: time.Millisecond}, {roused: true, want: time.Millisecond}})
	})
	t.Run("off for so long at most", func(t *testing.T) {
		s := newSpinner(false)
		s.off, s.pause = 0, maxOff
		play(t, &s, slices.Concat([]turn{interrupted}, off(maxOff), []turn{interrupted}, off(maxOff), []turn{interrupted}))
	})
}

func play(t *testing.T, s *spinner, turns []turn) {
	t.Helper()
	for i, turn := range turns {
		got := s.next(turn.roused)
		if got != turn.want {
			t.Fatalf("wait %d spins for %v, want %v", i, got, turn.want)
		}
		if got > 0 {
			s.learn(turn.roused, turn.caught, turn.interrupted)
		}
	}
}
