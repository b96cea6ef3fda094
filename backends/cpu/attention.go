package cpu

import (
	"math"
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
)

// buildAttention builds scaled dot product attention of queries, keys and values.
func buildAttention(n *node) (kernel, error) {
	for i := range 3 {
		if n.input(i) != backends.FP32 {
			return nil, n.unsupported("an input of %v", n.input(i))
		}
	}
	if m := n.input(3); m != backends.Invalid && m != backends.Bool && m != backends.FP32 {
		return nil, n.unsupported("a mask of %v", m)
	}
	for i := 4; i <= 5; i++ {
		if d := n.input(i); d != backends.Invalid && d != backends.FP32 {
			return nil, n.unsupported("a cache of %v", d)
		}
	}
	a := attention{
		causal: n.int("is_causal", 0) != 0, heads: [2]int{n.int("q_num_heads", 0), n.int("kv_num_heads", 0)},
		scale: float64(n.float("scale", 0)), softcap: n.float("softcap", 0), shown: n.int("qk_matmul_output_mode", 0),
		left: n.int("left_window_size", -1), right: n.int("right_window_size", -1), precision: n.engine.precision.ofValues(),
	}
	if n.output(3) == backends.Invalid {
		a.shown = showNothing
	}
	if a.left < -1 || a.right < -1 || a.shown < showNothing || a.shown > showWeights {
		return nil, backends.Errorf(backends.ErrInvalid, "windows of %d and %d, qk_matmul_output_mode %d", a.left, a.right, a.shown)
	}
	return a.kernel, nil
}

type attention struct {
	causal      bool
	heads       [2]int // of queries, of keys and values: where three dimensions do not tell
	scale       float64
	softcap     float32
	shown       int // what the last output is: products, these capped, these masked, or weights
	left, right int // how far a query sees, -1 for as far as there is
	precision   kernels.Precision
}

// What attention.shown says.
const (
	showNothing = iota - 1
	showProducts
	showCapped
	showMasked
	showWeights
)

func (a attention) kernel(r *run, in, out []*tensor) error {
	q, err := a.split(r, in[0], a.heads[0])
	if err != nil {
		return err
	}
	k, err := a.cached(r, in, out, 1)
	if err != nil {
		return err
	}
	v, err := a.cached(r, in, out, 2)
	if err != nil {
		return err
	}
	h, err := a.sizes(q, k, v)
	if err != nil {
		return err
	}
	if err := h.seePast(in); err != nil {
		return err
	}
	mask, err := h.maskOf(r, in)
	if err != nil {
		return err
	}
	weights, shown, y := r.scratch(), r.scratch(), r.scratch()
	if err := r.makeTensor(weights, backends.FP32, []int{h.batch, h.heads, h.queries, h.keys}); err != nil {
		return err
	}
	if a.shown != showNothing {
		shown = out[3]
		if err := r.makeTensor(shown, backends.FP32, weights.shape); err != nil {
			return err
		}
	}
	if err := r.makeTensor(y, backends.FP32, []int{h.batch, h.heads, h.queries, v.shape[3]}); err != nil {
		return err
	}
	a.score(r, h, [3][]float32{view[float32](q), view[float32](k), view[float32](weights)})
	size := h.queries * h.keys
	r.engine.pool.For(h.batch*h.heads, 1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			var show []float32
			if a.shown != showNothing {
				show = view[float32](shown)[i*size : (i+1)*size]
			}
			a.weigh(h, mask, [2]int{i / h.heads, i % h.heads}, view[float32](weights)[i*size:(i+1)*size], show)
		}
	})
	a.mix(r, h, [3][]float32{view[float32](weights), view[float32](v), view[float32](y)})
	if in[0].rank() == 4 {
		out[0].share(y, y.shape)
		return nil
	}
	joined := r.scratch()
	if err := r.transpose(joined, y, []int{0, 2, 1, 3}); err != nil {
		return err
	}
	out[0].share(joined, []int{h.batch, h.queries, h.heads * v.shape[3]})
	return nil
}

// split returns t as batch, heads, positions and width.
func (a attention) split(r *run, t *tensor, heads int) (*tensor, error) {
	if t.rank() == 4 {
		return t, nil
	}
	if t.rank() != 3 || heads < 1 || t.shape[2]%heads != 0 {
		return nil, backends.Errorf(backends.ErrInvalid, "a tensor of shape %v in %d heads", t.shape, heads)
	}
	apart, turned := r.scratch(), r.scratch()
	apart.share(t, []int{t.shape[0], t.shape[1], heads, t.shape[2] / heads})
	return turned, r.transpose(turned, apart, []int{0, 2, 1, 3})
}

// cached returns keys (i=1) or values (i=2) after those of the past, which become an output.
func (a attention) cached(r *run, in, out []*tensor, i int) (*tensor, error) {
	t, err := a.split(r, in[i], a.heads[1])
	if err != nil {
		return nil, err
	}
	all := t
	if 3+i < len(in) && in[3+i] != nil {
		past := in[3+i]
		if past.rank() != 4 || past.shape[0] != t.shape[0] || past.shape[1] != t.shape[1] || past.shape[3] != t.shape[3] {
			return nil, backends.Errorf(backends.ErrInvalid, "a cache of shape %v before a tensor of shape %v", past.shape, t.shape)
		}
		all = r.scratch()
		if err := r.makeTensor(all, t.dtype, []int{t.shape[0], t.shape[1], past.shape[2] + t.shape[2], t.shape[3]}); err != nil {
			return nil, err
		}
		join[uint32](all, []*tensor{past, t}, t.shape[0]*t.shape[1])
	}
	if i < len(out) && out[i] != nil {
		out[i].share(all, all.shape)
	}
	return all, nil
}

// attentionSizes are what one attention works on.
type attentionSizes struct {
	batch, heads, perGroup int // as many heads share keys and values
	queries, keys          int
	width, valueWidth      int
	offsets                []int // by batch: the position of the first query among the keys
	lengths                []int // by batch: how many keys are no padding
}

func (a attention) sizes(q, k, v *tensor) (h attentionSizes, err error) {
	h = attentionSizes{batch: q.shape[0], heads: q.shape[1], queries: q.shape[2], keys: k.shape[2], width: q.shape[3], valueWidth: v.shape[3]}
	if !slices.Equal(k.shape[:3], v.shape[:3]) || k.shape[0] != h.batch || k.shape[3] != h.width || k.shape[1] < 1 || h.heads%k.shape[1] != 0 {
		return h, backends.Errorf(backends.ErrInvalid, "queries of shape %v, keys of shape %v and values of shape %v", q.shape, k.shape, v.shape)
	}
	h.perGroup = h.heads / k.shape[1]
	return h, nil
}

// seePast finds out where the queries are among the keys.
func (h *attentionSizes) seePast(in []*tensor) error {
	h.offsets, h.lengths = make([]int, h.batch), make([]int, h.batch)
	fill(h.lengths, h.keys)
	if 4 < len(in) && in[4] != nil {
		fill(h.offsets, in[4].shape[2])
	}
	if len(in) < 7 || in[6] == nil {
		return nil
	}
	lengths, err := in[6].ints()
	if err != nil || len(lengths) != h.batch {
		return backends.Errorf(backends.ErrInvalid, "lengths of shape %v for a batch of %d", in[6].shape, h.batch)
	}
	for i, n := range lengths {
		h.lengths[i], h.offsets[i] = n, n-h.queries
	}
	return nil
}

// maskOf returns what is added to the scores, stretched over batch, heads and queries; its rows
// may be shorter than there are keys.
func (h attentionSizes) maskOf(r *run, in []*tensor) (strided, error) {
	if len(in) < 4 || in[3] == nil {
		return strided{}, nil
	}
	m := in[3]
	if m.rank() == 0 || m.shape[m.rank()-1] > h.keys {
		return strided{}, backends.Errorf(backends.ErrInvalid, "a mask of shape %v for %d keys", m.shape, h.keys)
	}
	cols := m.shape[m.rank()-1]
	if cols == 1 {
		cols = h.keys
	}
	shape := []int{h.batch, h.heads, h.queries, cols}
	if all, err := broadcast(m.shape, shape); err != nil || !slices.Equal(all, shape) {
		return strided{}, backends.Errorf(backends.ErrInvalid, "a mask of shape %v for scores of shape %v", m.shape, shape)
	}
	if m.dtype == backends.Bool {
		added := r.scratch()
		if err := r.makeTensor(added, backends.FP32, m.shape); err != nil {
			return strided{}, err
		}
		for i, keep := range m.raw {
			view[float32](added)[i] = 0
			if keep == 0 {
				view[float32](added)[i] = float32(math.Inf(-1))
			}
		}
		m = added
	}
	return strided{tensor: m, shape: shape, steps: stretched(m.shape, shape)}, nil
}

// weigh makes the weights of the keys of the products that scores hold for one head, and copies
// what is to be shown.
func (a attention) weigh(h attentionSizes, mask strided, head [2]int, scores, shown []float32) {
	a.show(shown, scores, showProducts)
	if a.softcap > 0 {
		for i, s := range scores {
			scores[i] = a.softcap * float32(math.Tanh(float64(s/a.softcap)))
		}
	}
	a.show(shown, scores, showCapped)
	hidden := make([]bool, h.queries)
	for i := range h.queries {
		hidden[i] = a.hide(scores[i*h.keys:(i+1)*h.keys], h, mask, [3]int{head[0], head[1], i})
	}
	a.show(shown, scores, showMasked)
	if h.keys > 0 {
		kernels.Softmax(scores, scores, h.keys)
	}
	for i, all := range hidden {
		if all {
			clear(scores[i*h.keys : (i+1)*h.keys])
		}
	}
	a.show(shown, scores, showWeights)
}

// show copies the scores where they are what the last output is.
func (a attention) show(dst, scores []float32, at int) {
	if a.shown == at {
		copy(dst, scores)
	}
}

// score computes the scaled products of queries and keys; data are these and the products.
func (a attention) score(r *run, h attentionSizes, data [3][]float32) {
	scale := a.scale
	if scale == 0 {
		scale = 1 / math.Sqrt(float64(h.width))
	}
	g := h.products(h.queries*h.width, h.keys*h.width, h.queries*h.keys, data)
	g.M, g.N, g.K, g.Alpha, g.Precision = h.queries, h.keys, h.width, float32(scale), a.precision
	g.A.Stride, g.B.Stride, g.B.Transposed, g.C.Stride = h.width, h.width, true, h.keys
	g.Run(r.engine.pool)
}

// mix computes the means of the values; data are the weights, the values and the means.
func (a attention) mix(r *run, h attentionSizes, data [3][]float32) {
	g := h.products(h.queries*h.keys, h.keys*h.valueWidth, h.queries*h.valueWidth, data)
	g.M, g.N, g.K, g.Precision = h.queries, h.valueWidth, h.keys, a.precision
	g.A.Stride, g.B.Stride, g.C.Stride = h.keys, h.valueWidth, h.valueWidth
	g.Run(r.engine.pool)
}

// products returns the product of matrices of these sizes for all heads, of which some share B.
func (h attentionSizes) products(a, b, c int, data [3][]float32) kernels.BatchGemm {
	n := h.perGroup
	return kernels.BatchGemm{
		Batch: [2]int{h.batch * h.heads / n, n},
		A:     kernels.Operand{Data: data[0], Batch: [2]int{n * a, a}},
		B:     kernels.Operand{Data: data[1], Batch: [2]int{b, 0}},
		C:     kernels.Operand{Data: data[2], Batch: [2]int{n * c, c}},
	}
}

// hide adds the masks to the scores of one query, and says whether none is left.
func (a attention) hide(row []float32, h attentionSizes, mask strided, at [3]int) bool {
	batch, query := at[0], at[2]
	position := h.offsets[batch] + query
	all := true
	for j := range row {
		added := float32(0)
		if mask.tensor != nil {
			added = mask.row(at, j)
		}
		if j >= h.lengths[batch] || a.causal && j > position ||
			a.left >= 0 && j < position-a.left || a.right >= 0 && j > position+a.right {
			added = float32(math.Inf(-1))
		}
		row[j] += added
		if math.IsInf(float64(added), -1) {
			row[j] = added // whatever the product was
		} else {
			all = false
		}
	}
	return all
}

// row returns what a mask adds to key j of a query; keys beyond its rows are hidden.
func (s strided) row(at [3]int, j int) float32 {
	if j >= s.shape[3] {
		return float32(math.Inf(-1))
	}
	return view[float32](s.tensor)[at[0]*s.steps[0]+at[1]*s.steps[1]+at[2]*s.steps[2]+j*s.steps[3]]
}

// buildRotaryEmbedding builds the rotation of pairs of elements by angles of their position.
func buildRotaryEmbedding(n *node) (kernel, error) {
	if n.input(0) != backends.FP32 || n.input(1) != backends.FP32 || n.input(2) != backends.FP32 {
		return nil, n.unsupported("an input of %v", n.input(0))
	}
	e := rotary{interleaved: n.int("interleaved", 0) != 0, width: n.int("rotary_embedding_dim", 0), heads: n.int("num_heads", 0)}
	return e.kernel, nil
}

type rotary struct {
	interleaved  bool
	width, heads int // 0 where the shape tells
}

func (e rotary) kernel(r *run, in, out []*tensor) error {
	x := in[0]
	var steps [3]int // batch, position, head
	var sizes [3]int
	width := 0
	switch {
	case x.rank() == 4:
		width = x.shape[3]
		sizes = [3]int{x.shape[0], x.shape[2], x.shape[1]}
		steps = [3]int{x.shape[1] * x.shape[2] * width, width, x.shape[2] * width}
	case x.rank() == 3 && e.heads > 0 && x.shape[2]%e.heads == 0:
		width = x.shape[2] / e.heads
		sizes = [3]int{x.shape[0], x.shape[1], e.heads}
		steps = [3]int{x.shape[1] * x.shape[2], x.shape[2], width}
	default:
		return backends.Errorf(backends.ErrInvalid, "a tensor of shape %v in %d heads", x.shape, e.heads)
	}
	turned := e.width
	if turned == 0 {
		turned = width
	}
	if turned < 0 || turned%2 != 0 || turned > width {
		return backends.Errorf(backends.ErrInvalid, "a rotation of %d elements of %d", turned, width)
	}
	angles, err := e.angles(in, sizes, turned/2)
	if err != nil {
		return err
	}
	if err := r.makeTensor(out[0], x.dtype, x.shape); err != nil {
		return err
	}
	src, dst := view[float32](x), view[float32](out[0])
	copy(dst, src)
	cos, sin := view[float32](in[1]), view[float32](in[2])
	for b := range sizes[0] {
		for p := range sizes[1] {
			row := angles[b*sizes[1]+p] * turned / 2
			for h := range sizes[2] {
				at := b*steps[0] + p*steps[1] + h*steps[2]
				e.rotate(dst[at:at+turned], src[at:at+turned], cos[row:], sin[row:])
			}
		}
	}
	return nil
}

// angles returns the row of the tables that each position of each batch entry uses.
func (e rotary) angles(in []*tensor, sizes [3]int, half int) ([]int, error) {
	cos, sin := in[1], in[2]
	rank := 3
	if len(in) > 3 && in[3] != nil {
		rank = 2
	}
	if !slices.Equal(cos.shape, sin.shape) || cos.rank() != rank || cos.shape[rank-1] != half {
		return nil, backends.Errorf(backends.ErrInvalid, "tables of shapes %v and %v for a rotation of %d elements", cos.shape, sin.shape, 2*half)
	}
	count := sizes[0] * sizes[1]
	if rank == 2 {
		all, err := in[3].ints()
		if err != nil || len(all) != count {
			return nil, backends.Errorf(backends.ErrInvalid, "positions of shape %v for %d sequences of %d", in[3].shape, sizes[0], sizes[1])
		}
		for i, p := range all {
			if p < 0 || p >= cos.shape[0] {
				return nil, backends.Errorf(backends.ErrInvalid, "position %d, element %d, is outside of a table of %d rows", p, i, cos.shape[0])
			}
		}
		return all, nil
	}
	if cos.shape[0] != sizes[0] || cos.shape[1] != sizes[1] {
		return nil, backends.Errorf(backends.ErrInvalid, "tables of shape %v for %d sequences of %d", cos.shape, sizes[0], sizes[1])
	}
	all := make([]int, count)
	for i := range all {
		all[i] = i
	}
	return all, nil
}

func (e rotary) rotate(dst, src, cos, sin []float32) {
	half := len(src) / 2
	for i := range half {
		a, b := i, half+i
		if e.interleaved {
			a, b = 2*i, 2*i+1
		}
		x, y := src[a], src[b]
		dst[a], dst[b] = cos[i]*x-sin[i]*y, sin[i]*x+cos[i]*y
	}
}
