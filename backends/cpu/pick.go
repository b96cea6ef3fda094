package cpu

import (
	"cmp"
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// flat returns t as the slices along an axis of a node, or as its elements where there is none.
func flat(n *node) func(t *tensor) (*tensor, int, error) {
	at, whole := n.int("axis", 0), !n.has("axis")
	return func(t *tensor) (*tensor, int, error) {
		if whole {
			line := *t
			line.shape = []int{t.len()}
			return &line, 0, nil
		}
		a, err := axis(at, t.rank())
		return t, a, err
	}
}

// gather makes out the slices of t at the indices of an axis.
func (r *run) gather(out, t *tensor, index []int, a int) error {
	shape := slices.Clone(t.shape)
	shape[a] = len(index)
	if err := r.makeTensor(out, t.dtype, shape); err != nil {
		return err
	}
	take := byWidth(t.dtype, take[uint8], take[uint16], take[uint32], take[uint64], take[string])
	take(out, t, index, t.shape[a], product(t.shape[a+1:]))
	return nil
}

// buildCompress builds the choice of slices by a condition each.
func buildCompress(n *node) (kernel, error) {
	line := flat(n)
	return func(r *run, in, out []*tensor) error {
		t, a, err := line(in[0])
		if err != nil {
			return err
		}
		if in[1].rank() != 1 || in[1].len() > t.shape[a] {
			return backends.Errorf(backends.ErrInvalid, "conditions of shape %v for %d slices", in[1].shape, t.shape[a])
		}
		var index []int
		for i, keep := range view[bool](in[1]) {
			if keep {
				index = append(index, i)
			}
		}
		return r.gather(out[0], t, index, a)
	}, nil
}

// buildUnique builds the choice of slices that differ.
func buildUnique(n *node) (kernel, error) {
	var compare func(t *tensor, i, j int) int
	switch d := n.input(0); d {
	case backends.FP32:
		compare = compareSlices[float32]
	case backends.FP64:
		compare = compareSlices[float64]
	case backends.Int8:
		compare = compareSlices[int8]
	case backends.Int16:
		compare = compareSlices[int16]
	case backends.Int32:
		compare = compareSlices[int32]
	case backends.Int64:
		compare = compareSlices[int64]
	case backends.Uint8, backends.Bool:
		compare = compareSlices[uint8]
	case backends.Uint16:
		compare = compareSlices[uint16]
	case backends.Uint32:
		compare = compareSlices[uint32]
	case backends.Uint64:
		compare = compareSlices[uint64]
	case backends.Bytes:
		compare = compareSlices[string]
	default:
		return nil, n.unsupported("an input of %v", d)
	}
	line, sorted := flat(n), n.int("sorted", 1) != 0
	return func(r *run, in, out []*tensor) error {
		t, a, err := line(in[0])
		if err != nil {
			return err
		}
		u, err := distinct(r, t, a, compare)
		if err != nil {
			return err
		}
		if !sorted {
			u.byAppearance()
		}
		if err := r.gather(out[0], t, u.first, a); err != nil {
			return err
		}
		for i, list := range [][]int{u.first, u.group, u.counts} {
			if i+1 >= len(out) || out[i+1] == nil {
				continue
			}
			if err := r.makeTensor(out[i+1], backends.Int64, []int{len(list)}); err != nil {
				return err
			}
			for j, v := range list {
				view[int64](out[i+1])[j] = int64(v)
			}
		}
		return nil
	}, nil
}

// compareSlices compares slices i and j, which are rows.
func compareSlices[T interface {
	element
	cmp.Ordered
}](t *tensor, i, j int) int {
	all, width := view[T](t), product(t.shape[1:])
	return slices.Compare(all[i*width:(i+1)*width], all[j*width:(j+1)*width])
}

// groups are slices that are equal: where each first appears, which group each slice is of, and
// how many there are.
type groups struct{ first, group, counts []int }

// distinct groups the slices along axis a, in ascending order.
func distinct(r *run, t *tensor, a int, compare func(t *tensor, i, j int) int) (groups, error) {
	var u groups
	perm := reversed(t.rank())
	slices.Reverse(perm)
	perm = append([]int{a}, slices.Delete(perm, a, a+1)...)
	rows := r.scratch()
	if err := r.transpose(rows, t, perm); err != nil {
		return u, err
	}
	order := make([]int, t.shape[a])
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return compare(rows, i, j) })
	u.group = make([]int, len(order))
	for k, i := range order {
		if k == 0 || compare(rows, order[k-1], i) != 0 {
			u.first = append(u.first, i)
			u.counts = append(u.counts, 0)
		}
		last := len(u.first) - 1
		u.group[i] = last
		u.counts[last]++
	}
	return u, nil
}

// byAppearance reorders groups by where they first appear.
func (u *groups) byAppearance() {
	order := make([]int, len(u.first))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return u.first[i] - u.first[j] })
	rank := inverse(order)
	old := *u
	u.first, u.counts = make([]int, len(order)), make([]int, len(order))
	for i, r := range rank {
		u.first[r], u.counts[r] = old.first[i], old.counts[i]
	}
	for i, g := range u.group {
		u.group[i] = rank[g]
	}
}

// buildReverseSequence builds the reversal of the first elements of each sequence.
func buildReverseSequence(n *node) (kernel, error) {
	batch, time, lengths := n.int("batch_axis", 1), n.int("time_axis", 0), n.list("", 1)
	if batch == time || batch < 0 || batch > 1 || time < 0 || time > 1 {
		return nil, backends.Errorf(backends.ErrInvalid, "batch_axis %d and time_axis %d: one is 0, the other 1", batch, time)
	}
	put := byWidth(n.input(0), put[uint8], put[uint16], put[uint32], put[uint64], put[string])
	return func(r *run, in, out []*tensor) error {
		t := in[0]
		given, err := lengths(in)
		if err != nil {
			return err
		}
		if t.rank() < 2 || len(given) != t.shape[batch] {
			return backends.Errorf(backends.ErrInvalid, "%d lengths for a tensor of shape %v", len(given), t.shape)
		}
		width, steps := product(t.shape[2:]), t.shape[time]
		starts := make([]int, t.shape[0]*t.shape[1])
		for b, n := range given {
			if n < 0 || n > steps {
				return backends.Errorf(backends.ErrInvalid, "length %d, element %d, of sequences of %d", n, b, steps)
			}
			for i := range steps {
				to := i
				if i < n {
					to = n - 1 - i
				}
				from, at := [2]int{}, [2]int{}
				from[batch], from[time], at[batch], at[time] = b, i, b, to
				starts[from[0]*t.shape[1]+from[1]] = (at[0]*t.shape[1] + at[1]) * width
			}
		}
		if err := r.makeTensor(out[0], t.dtype, t.shape); err != nil {
			return err
		}
		put(out[0], t, starts, width)
		return nil
	}, nil
}

// buildTensorScatter builds the writing of new elements into a cache, from a place on that each
// sequence has.
func buildTensorScatter(n *node) (kernel, error) {
	at, places := n.int("axis", -2), n.list("", 2)
	circular := n.string("mode", "linear") == "circular"
	if mode := n.string("mode", "linear"); mode != "linear" && !circular {
		return nil, backends.Errorf(backends.ErrInvalid, "mode %q: it is linear or circular", mode)
	}
	put := byWidth[scatterLoop](n.input(0), put[uint8], put[uint16], put[uint32], put[uint64], put[string])
	return func(r *run, in, out []*tensor) error {
		cache, update := in[0], in[1]
		a, err := axis(at, cache.rank())
		if err != nil {
			return err
		}
		want := slices.Clone(cache.shape)
		if a == 0 || update.rank() != len(want) {
			return backends.Errorf(backends.ErrInvalid, "an update of shape %v along axis %d of a cache of shape %v", update.shape, a, cache.shape)
		}
		want[a] = update.shape[a]
		given, err := places(in)
		if err != nil {
			return err
		}
		if given == nil {
			given = make([]int, cache.shape[0])
		}
		if !slices.Equal(update.shape, want) || len(given) != cache.shape[0] || update.shape[a] > cache.shape[a] {
			return backends.Errorf(backends.ErrInvalid, "an update of shape %v at %d places of a cache of shape %v", update.shape, len(given), cache.shape)
		}
		width, perBatch := product(cache.shape[a+1:]), product(cache.shape[1:a])
		var starts []int
		for i := range cache.shape[0] * perBatch {
			for j := range update.shape[a] {
				place := given[i/perBatch]
				if place < 0 || !circular && place > cache.shape[a]-update.shape[a] {
					return backends.Errorf(backends.ErrInvalid, "%d elements at place %d of a cache of %d", update.shape[a], place, cache.shape[a])
				}
				starts = append(starts, (i*cache.shape[a]+(place%cache.shape[a]+j)%cache.shape[a])*width)
			}
		}
		return scatter(r, []*tensor{cache, nil, update}, out, put, starts, width)
	}, nil
}

// buildTfIdfVectorizer builds the counts of n-grams of integers.
func buildTfIdfVectorizer(n *node) (kernel, error) {
	pool, starts, columns := n.ints("pool_int64s"), n.ints("ngram_counts"), n.ints("ngram_indexes")
	if n.input(0) != backends.Int32 && n.input(0) != backends.Int64 || n.has("pool_strings") {
		return nil, n.unsupported("an input of %v", n.input(0))
	}
	v := vectorizer{
		least: n.int("min_gram_length", 1), most: n.int("max_gram_length", 1), skips: n.int("max_skip_count", 0),
		mode: n.string("mode", "TF"), weights: n.floats("weights"), columns: columns, grams: map[string]int{},
	}
	if v.least < 1 || v.most < v.least || v.most > len(starts) || v.skips < 0 || v.skips > maxSkips || slices.ContainsFunc(columns, negative) ||
		v.weights != nil && len(v.weights) != len(columns) || v.mode != "TF" && v.mode != "IDF" && v.mode != "TFIDF" {
		return nil, backends.Errorf(backends.ErrInvalid, "mode %q, n-grams of %d to %d with %d skips, %d columns and %d weights", v.mode, v.least, v.most, v.skips, len(columns), len(v.weights))
	}
	return v.kernel, v.fill(pool, starts)
}

// maxSkips bounds max_skip_count.
const maxSkips = 1 << 10

type vectorizer struct {
	least, most, skips int
	mode               string
	columns            []int
	weights            []float32
	grams              map[string]int // their numbers
}

// fill numbers the n-grams of the pool, in which those of each length start where starts say.
func (v *vectorizer) fill(pool, starts []int) error {
	number := 0
	for size := 1; size <= len(starts); size++ {
		from, to := starts[size-1], len(pool)
		if size < len(starts) {
			to = starts[size]
		}
		if from < 0 || to < from || to > len(pool) || (to-from)%size != 0 {
			return backends.Errorf(backends.ErrInvalid, "ngram_counts %v of a pool of %d", starts, len(pool))
		}
		for ; from < to; from += size {
			v.grams[gram(pool[from:from+size])] = number
			number++
		}
	}
	if number != len(v.columns) {
		return backends.Errorf(backends.ErrInvalid, "%d n-grams and %d ngram_indexes", number, len(v.columns))
	}
	return nil
}

func gram(items []int) string {
	key := make([]byte, 0, 8*len(items))
	for _, v := range items {
		for shift := 0; shift < 64; shift += 8 {
			key = append(key, byte(v>>shift))
		}
	}
	return string(key)
}

func (v vectorizer) kernel(r *run, in, out []*tensor) error {
	x := in[0]
	if x.rank() < 1 || x.rank() > 2 {
		return backends.Errorf(backends.ErrInvalid, "an input of shape %v, not of one or two dimensions", x.shape)
	}
	items, err := x.ints()
	if err != nil {
		return err
	}
	width := 0
	for _, c := range v.columns {
		width = max(width, c+1)
	}
	shape := append(slices.Clone(x.shape[:x.rank()-1]), width)
	if err := r.makeTensor(out[0], backends.FP32, shape); err != nil {
		return err
	}
	clear(out[0].raw)
	length := x.shape[x.rank()-1]
	for row := range product(shape[:len(shape)-1]) {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		v.count(view[float32](out[0])[row*width:(row+1)*width], items[row*length:(row+1)*length])
	}
	return nil
}

// count adds up the n-grams of one sequence.
func (v vectorizer) count(dst []float32, items []int) {
	counts := make([]int, len(v.columns))
	for size := v.least; size <= v.most; size++ {
		for skip := range v.skips + 1 {
			if size == 1 && skip > 0 {
				break
			}
			v.countSkipping(counts, items, size, skip+1)
		}
	}
	for i, n := range counts {
		value := float32(n)
		if v.mode == "IDF" {
			value = float32(min(n, 1))
		}
		if v.mode != "TF" && v.weights != nil {
			value *= v.weights[i]
		}
		dst[v.columns[i]] += value
	}
}

// countSkipping counts the n-grams of a size whose items are step apart.
func (v vectorizer) countSkipping(counts, items []int, size, step int) {
	picked := make([]int, size)
	for from := 0; from+(size-1)*step < len(items); from++ {
		for i := range picked {
			picked[i] = items[from+i*step]
		}
		if number, ok := v.grams[gram(picked)]; ok {
			counts[number]++
		}
	}
}
