package cpu

import (
	"math"
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// buildLinearAttention builds the attention whose past is one matrix per head.
func buildLinearAttention(n *node) (kernel, error) {
	for i, v := range n.Inputs {
		if v != nil && v.Datatype != backends.FP32 {
			return nil, n.unsupported("an input of %v", n.input(i))
		}
	}
	a := linearAttention{heads: n.int("q_num_heads", 0), groups: n.int("kv_num_heads", 0), scale: float64(n.float("scale", 0))}
	rule := n.string("update_rule", "gated_delta")
	switch rule {
	case "linear", "gated", "delta", "gated_delta":
	default:
		return nil, backends.Errorf(backends.ErrInvalid, "update_rule %q", rule)
	}
	a.gated, a.delta = rule == "gated" || rule == "gated_delta", rule == "delta" || rule == "gated_delta"
	if a.gated != n.given(4) || a.delta != n.given(5) || a.groups < 1 || a.heads < 1 || a.heads%a.groups != 0 {
		return nil, backends.Errorf(backends.ErrInvalid, "update_rule %q with %d inputs, %d heads over %d", rule, len(n.Inputs), a.heads, a.groups)
	}
	return a.kernel, nil
}

type linearAttention struct {
	heads, groups int
	scale         float64
	gated, delta  bool
}

func (a linearAttention) kernel(r *run, in, out []*tensor) error {
	q, k, v := in[0], in[1], in[2]
	if q.rank() != 3 || k.rank() != 3 || v.rank() != 3 || !slices.Equal(q.shape[:2], k.shape[:2]) || !slices.Equal(q.shape[:2], v.shape[:2]) ||
		q.shape[2]%a.heads != 0 || k.shape[2] != q.shape[2]/a.heads*a.groups || v.shape[2]%a.groups != 0 {
		return backends.Errorf(backends.ErrInvalid, "queries of shape %v, keys of shape %v and values of shape %v in %d and %d heads", q.shape, k.shape, v.shape, a.heads, a.groups)
	}
	s := linearSizes{batch: q.shape[0], steps: q.shape[1], keys: q.shape[2] / a.heads, values: v.shape[2] / a.groups}
	state := orScratch(r, out, 1)
	if err := a.start(r, in, state, s); err != nil {
		return err
	}
	decay, err := a.perStep(in, 4, s, a.groups*s.keys, a.groups)
	if err != nil {
		return err
	}
	beta, err := a.perStep(in, 5, s, a.groups, 1)
	if err != nil {
		return err
	}
	if err := r.makeTensor(out[0], backends.FP32, []int{s.batch, s.steps, a.heads * s.values}); err != nil {
		return err
	}
	t := linearTensors{view[float32](q), view[float32](k), view[float32](v), view[float32](out[0]), decay, beta}
	size := s.keys * s.values
	r.engine.pool.For(s.batch*a.groups, 1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			a.group(t, s, view[float32](state)[i*size:(i+1)*size], i)
		}
	})
	return nil
}

type linearSizes struct{ batch, steps, keys, values int }

type linearTensors struct{ q, k, v, out, decay, beta []float32 }

// start makes the state what the input says, or nothing.
func (a linearAttention) start(r *run, in []*tensor, state *tensor, s linearSizes) error {
	shape := []int{s.batch, a.groups, s.keys, s.values}
	if err := r.makeTensor(state, backends.FP32, shape); err != nil {
		return err
	}
	clear(state.raw)
	if len(in) < 4 || in[3] == nil {
		return nil
	}
	if !slices.Equal(in[3].shape, shape) {
		return backends.Errorf(backends.ErrInvalid, "a past state of shape %v where %v is needed", in[3].shape, shape)
	}
	copy(state.raw, in[3].raw)
	return nil
}

// perStep returns an input with one of two numbers of values for each step, nil if it is left
// out.
func (a linearAttention) perStep(in []*tensor, i int, s linearSizes, many, few int) ([]float32, error) {
	if i >= len(in) || in[i] == nil {
		return nil, nil
	}
	t := in[i]
	if t.rank() != 3 || t.shape[0] != s.batch || t.shape[1] != s.steps || t.shape[2] != many && t.shape[2] != few {
		return nil, backends.Errorf(backends.ErrInvalid, "input %d of shape %v: it needs %d or %d values for each of %d steps", i, t.shape, many, few, s.steps)
	}
	return view[float32](t), nil
}

// group walks one head of keys and values of one batch entry through the steps.
func (a linearAttention) group(t linearTensors, s linearSizes, state []float32, i int) {
	batch, group := i/a.groups, i%a.groups
	perGroup := a.heads / a.groups
	scale := a.scale
	if scale == 0 {
		scale = 1 / math.Sqrt(float64(s.keys))
	}
	update := make([]float32, s.values)
	for step := range s.steps {
		at := batch*s.steps + step
		key := t.k[(at*a.groups+group)*s.keys:][:s.keys]
		copy(update, t.v[(at*a.groups+group)*s.values:][:s.values])
		if a.gated {
			fade(state, of(t.decay, at, group, a.groups, s), s)
		}
		if a.delta {
			beta := of(t.beta, at, group, a.groups, s)[0]
			correct(update, state, key, beta)
		}
		for d, x := range key {
			row := state[d*s.values : (d+1)*s.values]
			for m, u := range update {
				row[m] += x * u
			}
		}
		for h := group * perGroup; h < (group+1)*perGroup; h++ {
			read(t.out[(at*a.heads+h)*s.values:][:s.values], state, t.q[(at*a.heads+h)*s.keys:][:s.keys], float32(scale))
		}
	}
}

// of returns the values of a group at a step: one for each key, one, or one that all groups share.
func of(all []float32, at, group, groups int, s linearSizes) []float32 {
	switch per := len(all) / max(1, s.batch*s.steps); per {
	case groups * s.keys:
		return all[(at*groups+group)*s.keys:][:s.keys]
	case groups:
		return all[at*groups+group:][:1]
	default:
		return all[at:][:1]
	}
}

// fade multiplies the rows of the state by the exponentials of their decay.
func fade(state, decay []float32, s linearSizes) {
	for d := range s.keys {
		factor := float32(math.Exp(float64(decay[min(d, len(decay)-1)])))
		for m := range s.values {
			state[d*s.values+m] *= factor
		}
	}
}

// correct makes update beta times what the state does not give for the key yet.
func correct(update, state, key []float32, beta float32) {
	values := len(update)
	for m := range update {
		have := float32(0)
		for d, x := range key {
			have += state[d*values+m] * x
		}
		update[m] = beta * (update[m] - have)
	}
}

// read sets dst to what the state gives for a query.
func read(dst, state, query []float32, scale float32) {
	for m := range dst {
		sum := float32(0)
		for d, x := range query {
			sum += state[d*len(dst)+m] * x
		}
		dst[m] = scale * sum
	}
}

// buildCausalConv builds CausalConvWithState: each channel is convolved with what came before.
func buildCausalConv(n *node) (kernel, error) {
	for i, v := range n.Inputs {
		if v != nil && v.Datatype != backends.FP32 {
			return nil, n.unsupported("an input of %v", n.input(i))
		}
	}
	var silu bool
	switch a := n.string("activation", "none"); a {
	case "none":
	case "silu", "swish":
		silu = true
	default:
		return nil, backends.Errorf(backends.ErrInvalid, "activation %q", a)
	}
	return func(r *run, in, out []*tensor) error {
		x, w := in[0], in[1]
		if x.rank() != 3 || w.rank() != 3 || w.shape[0] != x.shape[1] || w.shape[1] != 1 || w.shape[2] < 1 {
			return backends.Errorf(backends.ErrInvalid, "an input of shape %v with weights of shape %v", x.shape, w.shape)
		}
		past := []int{x.shape[0], x.shape[1], w.shape[2] - 1}
		if len(in) > 3 && in[3] != nil && !slices.Equal(in[3].shape, past) || len(in) > 2 && in[2] != nil && in[2].len() != x.shape[1] {
			return backends.Errorf(backends.ErrInvalid, "a bias or past state that does not fit an input of shape %v with weights of shape %v", x.shape, w.shape)
		}
		state := orScratch(r, out, 1)
		if err := r.makeTensor(state, backends.FP32, past); err != nil {
			return err
		}
		if err := r.makeTensor(out[0], backends.FP32, x.shape); err != nil {
			return err
		}
		causal(in, out[0], state)
		if silu {
			for i, v := range view[float32](out[0]) {
				view[float32](out[0])[i] = v * float32(sigmoid(float64(v)))
			}
		}
		return nil
	}, nil
}

// causal convolves each channel and leaves in state the end of what it has seen.
func causal(in []*tensor, out, state *tensor) {
	x, w := in[0], in[1]
	length, taps := x.shape[2], w.shape[2]
	seen := make([]float32, taps-1+length)
	for i := range x.shape[0] * x.shape[1] {
		clear(seen)
		if len(in) > 3 && in[3] != nil {
			copy(seen, view[float32](in[3])[i*(taps-1):(i+1)*(taps-1)])
		}
		copy(seen[taps-1:], view[float32](x)[i*length:(i+1)*length])
		channel := i % x.shape[1]
		row := view[float32](w)[channel*taps : (channel+1)*taps]
		for at := range length {
			sum := float32(0)
			if len(in) > 2 && in[2] != nil {
				sum = view[float32](in[2])[channel]
			}
			for k, v := range row {
				sum += v * seen[at+k]
			}
			view[float32](out)[i*length+at] = sum
		}
		copy(view[float32](state)[i*(taps-1):(i+1)*(taps-1)], seen[length:])
	}
}
