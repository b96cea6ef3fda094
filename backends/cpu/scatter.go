package cpu

import (
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// scatterLoop writes updates to dst: width elements at each start, combined with what is
// there as the operator's reduction says.
type scatterLoop func(dst, updates *tensor, starts []int, width int)

// buildScatterND builds the update of slices that index tuples point to.
func buildScatterND(n *node) (kernel, error) {
	put, err := scattering(n)
	if err != nil {
		return nil, err
	}
	name := n.Inputs[1].Name
	return func(r *run, in, out []*tensor) error {
		starts, width, err := tuples(in[0], in[1], 0)
		if err != nil {
			return backends.Errorf(backends.ErrInvalid, "indices %q: %w", name, err)
		}
		last := in[1].rank() - 1
		want := slices.Concat(in[1].shape[:last], in[0].shape[in[1].shape[last]:])
		if !slices.Equal(in[2].shape, want) {
			return backends.Errorf(backends.ErrInvalid, "updates of shape %v where %v is needed", in[2].shape, want)
		}
		return scatter(r, in, out, put, starts, width)
	}, nil
}

// buildScatterElements builds the update of single elements along an axis.
func buildScatterElements(n *node) (kernel, error) {
	put, err := scattering(n)
	if err != nil {
		return nil, err
	}
	at, name := n.int("axis", 0), n.Inputs[1].Name
	return func(r *run, in, out []*tensor) error {
		index, a, err := r.elementIndices(in[0], in[1], at)
		if err != nil {
			return backends.Errorf(backends.ErrInvalid, "indices %q: %w", name, err)
		}
		if !slices.Equal(in[1].shape, in[2].shape) {
			return backends.Errorf(backends.ErrInvalid, "updates of shape %v for indices of shape %v", in[2].shape, in[1].shape)
		}
		return scatter(r, in, out, put, places(in[0].shape, in[1].shape, index, a), 1)
	}, nil
}

func scatter(r *run, in, out []*tensor, put scatterLoop, starts []int, width int) error {
	if err := r.makeTensor(out[0], in[0].dtype, in[0].shape); err != nil {
		return err
	}
	copy(out[0].raw, in[0].raw)
	copy(out[0].strings, in[0].strings)
	put(out[0], in[2], starts, width)
	return nil
}

func scattering(n *node) (scatterLoop, error) {
	d, how := n.input(0), n.string("reduction", "none")
	if how == "none" {
		return byWidth[scatterLoop](d, put[uint8], put[uint16], put[uint32], put[uint64], put[string]), nil
	}
	var f scatterLoop
	switch d {
	case backends.FP32:
		f = combining[float32](how)
	case backends.FP64:
		f = combining[float64](how)
	case backends.Int32:
		f = combining[int32](how)
	case backends.Int64:
		f = combining[int64](how)
	}
	if f == nil {
		return nil, n.unsupported("reduction %q of %v", how, d)
	}
	return f, nil
}

func put[T element](dst, updates *tensor, starts []int, width int) {
	to, from := view[T](dst), view[T](updates)
	for i, s := range starts {
		copy(to[s:s+width], from[i*width:])
	}
}

// combining returns the loop of a reduction, or nil.
func combining[T number](how string) scatterLoop {
	var f loop2[T, T]
	switch how {
	case "add":
		f = addLoop[T]
	case "mul":
		f = mulLoop[T]
	case "max":
		f = numberLoop[T]("Max")
	case "min":
		f = numberLoop[T]("Min")
	default:
		return nil
	}
	return func(dst, updates *tensor, starts []int, width int) {
		to, from := view[T](dst), view[T](updates)
		for i, s := range starts {
			f(to[s:s+width], to[s:s+width], from[i*width:(i+1)*width])
		}
	}
}
