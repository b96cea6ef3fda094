package onnx

// attention is the rule of Attention. Queries, keys and values are split into heads by a
// dimension, or by the attributes where they have three dimensions.
func attention(c *call) error {
	q, ok := c.shape(0)
	if !ok {
		return nil
	}
	if len(q) != 3 && len(q) != 4 {
		return invalid(c.Node, "the queries need 3 or 4 dimensions, they have %d", len(q))
	}
	c.set(0, c.attended(q))
	for i := 1; i <= 3; i++ {
		c.set(i, []Dim{q[0], unknown, unknown, unknown})
	}
	return nil
}

// attended returns the shape of the first output.
func (c *call) attended(q []Dim) []Dim {
	v, ok := c.shape(2)
	if !ok || len(v) != len(q) {
		v = unknownDims(len(q))
	}
	if len(q) == 4 {
		return []Dim{q[0], q[1], q[2], v[3]}
	}
	columns := unknown
	if heads := c.int("kv_num_heads", 0); heads > 0 && v[2].known() && v[2].Size%heads == 0 {
		columns = product(fixed(v[2].Size/heads), fixed(max(0, c.int("q_num_heads", 0))))
	}
	return []Dim{q[0], q[1], columns}
}

// linearAttention is the rule of LinearAttention.
func linearAttention(c *call) error {
	if c.input(3) == nil {
		c.setType(1, c.Inputs[0].Datatype)
	}
	q, ok := c.shape(0)
	if !ok {
		return nil
	}
	out := unknownDims(len(q))
	copy(out, q[:min(2, len(q))])
	c.set(0, out)
	c.set(1, unknownDims(4))
	return nil
}

// causalConv is the rule of CausalConvWithState.
func causalConv(c *call) error {
	x, ok := c.shape(0)
	if !ok {
		return nil
	}
	c.set(0, x)
	state := unknownDims(len(x))
	copy(state, x[:min(2, len(x))])
	c.set(1, state)
	return nil
}
