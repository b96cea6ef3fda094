package batching

import (
	"sync/atomic"
	"time"
)

// Policy decides which of the waiting calls are executed together. It is a pure function of
// the queue, so that a simulation can use the very policy that serves.
type Policy struct {
	MaxRows int // rows of a batch at most
}

// Waiting is what a Policy knows of one call in the queue.
type Waiting struct {
	Rows int
	Key  string // calls with equal keys can be stacked
}

// Next appends to picks the ascending positions in queue of the calls that form the next
// batch, and returns it. The head goes first whatever its size. Later calls with the head's
// key join it, past calls with other keys, until one does not fit: a smaller call behind that
// one stays behind it, so calls of one key never overtake each other and none starves.
func (p Policy) Next(queue []Waiting, picks []int) []int {
	rows := 0
	for i, w := range queue {
		if w.Key != queue[0].Key {
			continue
		}
		rows += w.Rows
		if i > 0 && rows > p.MaxRows {
			break
		}
		picks = append(picks, i)
		if rows >= p.MaxRows {
			break
		}
	}
	return picks
}

// worthAhead is what a batch has to cost for the next one to be sent ahead of its end. The
// instance that finds it there is spared some 20 µs of waiting. Calls that wait for the end
// instead are one batch with those that come meanwhile, and share its costs.
const worthAhead = 50 * time.Microsecond

// slots returns how many batches may be under way where one takes that long; 0 is not known.
func (o Options) slots(cost time.Duration) int {
	if o.Instances > 0 && cost < worthAhead {
		return min(o.Instances, o.Inflight)
	}
	return o.Inflight
}

// cost is what batches take when nothing disturbs them: less counts at once, more by and by.
type cost struct{ nanoseconds atomic.Int64 }

// observe may lose to another one at the same time, which does no harm.
func (c *cost) observe(took time.Duration) {
	known := time.Duration(c.nanoseconds.Load())
	if known == 0 || took < known {
		c.nanoseconds.Store(int64(max(took, 1)))
		return
	}
	c.nanoseconds.Store(int64(min(took, known+known/8+1)))
}

func (c *cost) known() time.Duration { return time.Duration(c.nanoseconds.Load()) }
