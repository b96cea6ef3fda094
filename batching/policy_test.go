package batching

import (
	"slices"
	"testing"
	"time"

	"github.com/thrumserve/thrum/backends"
)

func TestPolicyNext(t *testing.T) {
	for _, test := range []struct {
		situation string
		maxRows   int
		queue     []Waiting
		want      []int
	}{
		{"nothing waits", 8, nil, nil},
		{"one call", 8, []Waiting{{3, "a"}}, []int{0}},
		{"all fit", 8, []Waiting{{3, "a"}, {1, "a"}, {2, "a"}}, []int{0, 1, 2}},
		{"full to the row", 4, []Waiting{{3, "a"}, {1, "a"}, {1, "a"}}, []int{0, 1}},
		{"a call that does not fit ends the batch, a smaller one behind it stays behind",
			4, []Waiting{{3, "a"}, {2, "a"}, {1, "a"}}, []int{0}},
		{"calls join past incompatible ones", 8, []Waiting{{1, "a"}, {1, "b"}, {1, "a"}, {1, "b"}, {1, "a"}}, []int{0, 2, 4}},
		{"an incompatible call takes no room", 4, []Waiting{{2, "a"}, {4, "b"}, {2, "a"}}, []int{0, 2}},
		{"a head that is larger than the bound goes alone", 2, []Waiting{{5, "a"}, {1, "a"}}, []int{0}},
		{"rows of one, the unbatched case", 1, []Waiting{{1, ""}, {1, ""}}, []int{0}},
	} {
		t.Run(test.situation, func(t *testing.T) {
			if got := (Policy{MaxRows: test.maxRows}).Next(test.queue, nil); !slices.Equal(got, test.want) {
				t.Errorf("Next(%+v) = %v, want %v", test.queue, got, test.want)
			}
		})
	}
}

// Emptying any queue serves every call exactly once, each key in order of arrival.
func TestPolicyServesAllInOrder(t *testing.T) {
	var queue []Waiting
	order := map[string][]int{}
	for i := range 200 {
		key := string(rune('a' + i*i%7))
		queue = append(queue, Waiting{Rows: 1 + i*5%8, Key: key})
		order[key] = append(order[key], i)
	}
	position := make([]int, len(queue))
	for i := range position {
		position[i] = i
	}
	policy := Policy{MaxRows: 8}
	for len(queue) > 0 {
		picks := policy.Next(queue, nil)
		if len(picks) == 0 || picks[0] != 0 {
			t.Fatalf("Next(%+v) = %v, want the head first", queue, picks)
		}
		for _, i := range picks {
			key := queue[i].Key
			if position[i] != order[key][0] {
				t.Fatalf("key %q: call %d goes before call %d", key, position[i], order[key][0])
			}
			order[key] = order[key][1:]
		}
		for _, i := range slices.Backward(picks) {
			queue, position = slices.Delete(queue, i, i+1), slices.Delete(position, i, i+1)
		}
	}
	for key, left := range order {
		if len(left) > 0 {
			t.Errorf("key %q: calls %v were never served", key, left)
		}
	}
}

func TestOptionsValidate(t *testing.T) {
	for _, test := range []struct {
		situation string
		options   Options
		want      string
	}{
		{"smallest", Options{MaxRows: 1, MaxQueueRows: 1, Inflight: 1}, ""},
		{"zero value", Options{}, "batching.max_rows is 0: at least 1 is needed"},
		{"queue smaller than a call", Options{MaxRows: 8, MaxQueueRows: 7, Inflight: 1},
			"batching.max_queue_rows is 7, less than batching.max_rows (8): the largest call that is allowed could never wait"},
		{"nothing may execute", Options{MaxRows: 8, MaxQueueRows: 8}, "batching.inflight is 0: at least 1 is needed"},
		{"instances that are none", Options{MaxRows: 8, MaxQueueRows: 8, Inflight: 1, Instances: -1}, "-1 instances: at least 1 is needed"},
	} {
		t.Run(test.situation, func(t *testing.T) {
			err := test.options.Validate()
			if text(err) != test.want {
				t.Errorf("Validate(%+v) = %q, want %q", test.options, text(err), test.want)
			}
			if err != nil && !is(err, backends.ErrInvalid) {
				t.Errorf("Validate(%+v) = %v, want an ErrInvalid", test.options, err)
			}
		})
	}
}

func TestSlots(t *testing.T) {
	for _, test := range []struct {
		situation           string
		inflight, instances int
		cost                time.Duration
		want                int
	}{
		{"nothing is known yet", 3, 2, 0, 2},
		{"a batch is over in no time", 3, 2, worthAhead - 1, 2},
		{"a batch takes its time", 3, 2, worthAhead, 3},
		{"no instances are known", 3, 0, 1, 3},
		{"fewer batches than instances", 1, 2, 1, 1},
		{"fewer batches than instances, long ones", 1, 2, time.Second, 1},
	} {
		t.Run(test.situation, func(t *testing.T) {
			if got := (Options{Inflight: test.inflight, Instances: test.instances}).slots(test.cost); got != test.want {
				t.Errorf("slots(%v) = %d, want %d", test.cost, got, test.want)
			}
		})
	}
}

func TestCost(t *testing.T) {
	var c cost
	for i, test := range []struct{ took, want time.Duration }{
		{0, 1}, {80, 2}, {80, 3}, {2, 2}, {800, 3},
		{1, 1}, {1000, 2}, // one that was disturbed counts little
	} {
		if c.observe(test.took); c.known() != test.want {
			t.Errorf("%d: after one of %d ns a batch costs %d ns, want %d", i, test.took, c.known(), test.want)
		}
	}
	for range 200 {
		c.observe(time.Second)
	}
	if c.known() != time.Second {
		t.Errorf("after many of a second a batch costs %v", c.known())
	}
}
