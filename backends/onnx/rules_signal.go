package onnx

import (
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// spectrum is the rule of DFT: the signal's axis may become half as long or twice, and the last
// dimension tells real from complex.
func spectrum(c *call) error {
	dims, ok := c.shape(0)
	if !ok {
		return nil
	}
	if len(dims) < 2 {
		return invalid(c.Node, "the signal needs at least 2 dimensions, it has %d", len(dims))
	}
	out := unknownDims(len(dims))
	copy(out, dims)
	for i := range out[:len(out)-1] {
		if i > 0 || len(out) == 2 {
			out[i] = unknown
		}
	}
	axis, known := c.spectrumAxis()
	if known {
		copy(out, dims[:len(dims)-1])
		a, err := c.axis(axis, len(dims))
		if err != nil {
			return err
		}
		out[a] = unknown
	}
	out[len(out)-1] = unknown
	c.set(0, out)
	return nil
}

func (c *call) spectrumAxis() (axis int64, known bool) {
	if c.Opset < 20 {
		return c.int("axis", 1), true
	}
	if c.input(2) == nil {
		return -2, true
	}
	given, known := c.ints(2)
	if !known || len(given) != 1 {
		return 0, false
	}
	return given[0], true
}

// spectrogram is the rule of STFT.
func spectrogram(c *call) error {
	batch := unknown
	if dims, ok := c.shape(0); ok && len(dims) > 0 {
		batch = dims[0]
	}
	c.set(0, []Dim{batch, unknown, unknown, fixed(2)})
	return nil
}

// windowFunction is the rule of BlackmanWindow and its kin.
func windowFunction(c *call) error {
	dt, err := c.typeAttr("output_datatype", backends.FP32)
	if err != nil {
		return err
	}
	c.setType(0, dt)
	size := unknown
	if v := c.vector(0); v != nil && len(v.elems) == 1 {
		size = v.elems[0].dim()
	}
	c.set(0, []Dim{size})
	return nil
}

func melWeights(c *call) error {
	dt, err := c.typeAttr("output_datatype", backends.FP32)
	if err != nil {
		return err
	}
	c.setType(0, dt)
	out := unknownDims(2)
	if length, ok := c.ints(1); ok && len(length) == 1 && length[0] >= 0 {
		out[0] = fixed(length[0]/2 + 1)
	}
	if bins, ok := c.ints(0); ok && len(bins) == 1 && bins[0] >= 0 {
		out[1] = fixed(bins[0])
	}
	c.set(0, out)
	return nil
}

// recurrent is the rule of LSTM, GRU and RNN.
func recurrent(c *call) error {
	x, ok := c.shape(0)
	if ok && len(x) != 3 {
		return invalid(c.Node, "the input needs 3 dimensions, it has %d", len(x))
	}
	if !ok {
		x = unknownDims(3)
	}
	directions := fixed(1)
	switch c.string("direction", "forward") {
	case "forward", "reverse":
	case "bidirectional":
		directions = fixed(2)
	default:
		return invalid(c.Node, "direction %q does not exist", c.string("direction", ""))
	}
	hidden := unknown
	if r, ok := c.shape(2); ok {
		if len(r) != 3 {
			return c.mismatch()
		}
		hidden = r[2]
	}
	batched := c.int("layout", 0) != 0
	sequence, batch := x[0], x[1]
	if batched {
		sequence, batch = batch, sequence
	}
	state := []Dim{directions, batch, hidden}
	all := []Dim{sequence, directions, batch, hidden}
	if batched {
		state = []Dim{batch, directions, hidden}
		all = []Dim{batch, sequence, directions, hidden}
	}
	c.set(0, all)
	c.set(1, state)
	c.set(2, state)
	return nil
}

// tfIdf is the rule of TfIdfVectorizer: a column for each n-gram.
func tfIdf(c *call) error {
	dims, ok := c.shape(0)
	if !ok {
		return nil
	}
	if len(dims) < 1 || len(dims) > 2 {
		return invalid(c.Node, "the input needs 1 or 2 dimensions, it has %d", len(dims))
	}
	columns := int64(0)
	for _, i := range c.intList("ngram_indexes") {
		if i < 0 || i >= maxWindow {
			return invalid(c.Node, "ngram_indexes %d: each must be between 0 and %d", i, maxWindow)
		}
		columns = max(columns, i+1)
	}
	c.set(0, append(slices.Clone(dims[:len(dims)-1]), fixed(columns)))
	return nil
}
