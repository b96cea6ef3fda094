package batching

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
