package batching

import (
	"slices"
	"time"
)

// queue holds the calls that wait, in order of arrival. waiting[i] describes calls[i].
type queue struct {
	waiting []Waiting
	calls   []*call
	rows    int
}

func (q *queue) push(c *call) {
	q.waiting = append(q.waiting, Waiting{Rows: c.rows, Key: c.key})
	q.calls = append(q.calls, c)
	q.rows += c.rows
}

// take removes and returns the calls at picks, which ascend.
func (q *queue) take(picks []int) []*call {
	taken := make([]*call, 0, len(picks))
	for _, i := range picks {
		taken = append(taken, q.calls[i])
		q.rows -= q.calls[i].rows
		q.calls[i] = nil
	}
	kept := picks[0]
	for i := kept; i < len(q.calls); i++ {
		if q.calls[i] != nil {
			q.calls[kept], q.waiting[kept] = q.calls[i], q.waiting[i]
			kept++
		}
	}
	q.truncate(kept)
	return taken
}

// remove takes c out of the queue if it is there.
func (q *queue) remove(c *call) {
	i := slices.Index(q.calls, c)
	if i < 0 {
		return
	}
	q.rows -= c.rows
	copy(q.calls[i:], q.calls[i+1:])
	copy(q.waiting[i:], q.waiting[i+1:])
	q.truncate(len(q.calls) - 1)
}

// truncate forgets everything from position n on, so that nothing keeps a gone call alive.
func (q *queue) truncate(n int) {
	clear(q.calls[n:])
	clear(q.waiting[n:])
	q.calls, q.waiting = q.calls[:n], q.waiting[:n]
}

// line is a time in which the queue was not empty.
type line struct{ began, ended time.Time } // ended is zero while it is not

func (l line) joined(first bool, now time.Time) line {
	if first {
		return line{began: now}
	}
	return l
}

func (l line) left(last bool, now time.Time) line {
	if last && l.ended.IsZero() {
		l.ended = now
	}
	return l
}

// since returns when the line began in which who came then has waited, or when it came.
func (l line) since(came time.Time) time.Time {
	if came.Before(l.began) || !l.ended.IsZero() && came.After(l.ended) {
		return came
	}
	return l.began
}
