package host

import (
	"math"
	"testing"
	"time"
)

type cost struct {
	rows int
	took time.Duration
}

func TestCosts(t *testing.T) {
	for _, c := range []struct {
		situation string
		observed  []cost
		rows      int
		want      time.Duration
	}{
		{"nothing is known", nil, 8, 0},
		{"the same size", []cost{{8, 10 * ms}}, 8, 10 * ms},
		{"a size that shares the bucket", []cost{{5, 10 * ms}}, 8, 10 * ms},
		{"a slower one counts at once", []cost{{8, 10 * ms}, {8, 50 * ms}}, 8, 50 * ms},
		{"a faster one by an eighth", []cost{{8, 16 * ms}, {8, 8 * ms}}, 8, 15 * ms},
		{"a smaller size is scaled up", []cost{{8, 10 * ms}}, 64, 80 * ms},
		{"the nearest smaller size is", []cost{{1, 10 * ms}, {32, 20 * ms}}, 64, 40 * ms},
		{"a larger size is taken as it is", []cost{{64, 80 * ms}}, 1, 80 * ms},
		{"a smaller size goes before a larger one", []cost{{1, 10 * ms}, {64, 80 * ms}}, 4, 40 * ms},
		{"no rows are like one", []cost{{0, 10 * ms}}, 1, 10 * ms},
		{"no time is some", []cost{{1, 0}}, 1, 1},
		{"beyond the last bucket", []cost{{math.MaxInt, time.Second}}, 1 << 40, time.Second},
		{"scaling does not overflow", []cost{{1, 200 * 365 * 24 * time.Hour}}, 1 << 40, math.MaxInt64 >> 23 << 23},
	} {
		var known costs
		for _, o := range c.observed {
			known.observe(o.rows, o.took)
		}
		if got := known.of(c.rows); got != c.want {
			t.Errorf("%s: of(%d) = %v, want %v", c.situation, c.rows, got, c.want)
		}
	}
}

func TestHangLimit(t *testing.T) {
	for _, c := range []struct {
		situation string
		hang      Hang
		cost      time.Duration // of a row; 0 is not known
		want      time.Duration
	}{
		{"nothing is known", Hang{}, 0, time.Minute},
		{"next to nothing", Hang{}, ms, time.Second},
		{"just above the floor", Hang{}, 60 * ms, 1200 * ms},
		{"beyond the cap", Hang{}, 10 * time.Second, time.Minute},
		{"far beyond the cap", Hang{}, math.MaxInt64, time.Minute},
		{"own bounds", Hang{Multiple: 3, Floor: 10 * ms, Cap: time.Second}, 40 * ms, 120 * ms},
		{"a floor above the cap", Hang{Floor: time.Hour}, ms, time.Hour},
	} {
		var known costs
		if c.cost > 0 {
			known.observe(1, c.cost)
		}
		if got := c.hang.withDefaults().limit(&known, 1); got != c.want {
			t.Errorf("%s: limit = %v, want %v", c.situation, got, c.want)
		}
	}
}

func TestOverdue(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		situation string
		age       time.Duration
		late      bool
		again     time.Duration
		hung      bool
	}{
		{"young", 300 * ms, false, 700 * ms, false},
		{"late for the first time", time.Second, false, lateLook, false},
		{"late again", time.Second + lateLook, true, 0, true},
	} {
		f := &flight{first: now.Add(-c.age), limit: time.Second, late: c.late}
		if again, hung := f.overdue(now); again != c.again || hung != c.hung {
			t.Errorf("%s: overdue = %v, %v, want %v, %v", c.situation, again, hung, c.again, c.hung)
		}
	}
}

func TestCaution(t *testing.T) {
	for _, c := range []struct {
		situation string
		rows      int
		cost      time.Duration
		want      time.Duration
	}{
		{"nothing was lost", 0, ms, 100 * ms},
		{"little was lost", 8, ms, 100 * ms},
		{"much was lost", 100, 2 * ms, 600 * ms},
		{"nothing is known of the cost", 100, 0, 100 * ms},
		{"slow rows", 64, time.Second, 10 * time.Second},
		{"absurd ones", 1 << 30, math.MaxInt64, 10 * time.Second},
	} {
		if got := caution(c.rows, c.cost); got != c.want {
			t.Errorf("%s: caution(%d, %v) = %v, want %v", c.situation, c.rows, c.cost, got, c.want)
		}
	}
}

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		situation string
		flights   []int
		most      int
		want      int // -1 for none
	}{
		{"none lives", nil, 2, -1},
		{"all idle", []int{0, 0}, 2, 0},
		{"the first is busy", []int{1, 0}, 2, 1},
		{"both are busy", []int{1, 1}, 2, 0},
		{"one has room", []int{2, 1}, 2, 1},
		{"none has room", []int{2, 2}, 2, -1},
		{"one at a time", []int{1, 1}, 1, -1},
	} {
		var live []*instance
		for i, n := range c.flights {
			live = append(live, &instance{number: i, flights: make([]*flight, n)})
		}
		got := -1
		if inst := choose(live, c.most); inst != nil {
			got = inst.number
		}
		if got != c.want {
			t.Errorf("%s: choose = %d, want %d", c.situation, got, c.want)
		}
	}
}
