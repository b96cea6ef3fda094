package batching

import "slices"

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
