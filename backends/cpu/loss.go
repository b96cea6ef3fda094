package cpu

import (
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
)

// buildLoss builds NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss, which takes the
// logarithms of the softmax first.
func buildLoss(n *node) (kernel, error) {
	if n.input(0) != backends.FP32 || n.given(2) && n.input(2) != backends.FP32 {
		return nil, n.unsupported("an input of %v", n.input(0))
	}
	l := loss{reduction: n.string("reduction", "mean"), softmax: n.Op == "SoftmaxCrossEntropyLoss"}
	l.ignored, l.ignores = n.int("ignore_index", 0), n.has("ignore_index")
	switch l.reduction {
	case "none", "mean", "sum":
		return l.kernel, nil
	}
	return nil, backends.Errorf(backends.ErrInvalid, "reduction %q: it is none, mean or sum", l.reduction)
}

type loss struct {
	reduction string
	softmax   bool
	ignored   int // the class that does not count
	ignores   bool
}

func (l loss) kernel(r *run, in, out []*tensor) error {
	x, target := in[0], in[1]
	if x.rank() < 2 || !slices.Equal(target.shape, slices.Concat(x.shape[:1], x.shape[2:])) {
		return backends.Errorf(backends.ErrInvalid, "targets of shape %v for scores of shape %v", target.shape, x.shape)
	}
	if l.softmax {
		logs := orScratch(r, out, 1)
		if err := alongAxis(1, false, kernels.LogSoftmax)(r, in[:1], []*tensor{logs}); err != nil {
			return err
		}
		x = logs
	}
	classes, err := target.ints()
	if err != nil {
		return err
	}
	var weights []float32
	if len(in) > 2 && in[2] != nil {
		if weights = view[float32](in[2]); len(weights) != x.shape[1] {
			return backends.Errorf(backends.ErrInvalid, "%d weights for %d classes", len(weights), x.shape[1])
		}
	}
	losses, total, err := l.losses(x, classes, weights)
	if err != nil {
		return err
	}
	return l.reduce(r, out[0], target.shape, losses, total)
}

// losses returns the loss of each target, and the sum of their weights.
func (l loss) losses(x *tensor, classes []int, weights []float32) (losses []float32, total float64, err error) {
	src, count, inner := view[float32](x), x.shape[1], product(x.shape[2:])
	losses = make([]float32, len(classes))
	for i, class := range classes {
		if l.ignores && class == l.ignored {
			continue
		}
		if class < 0 || class >= count {
			return nil, 0, backends.Errorf(backends.ErrInvalid, "target %d, element %d, is none of %d classes", class, i, count)
		}
		weight := float32(1)
		if weights != nil {
			weight = weights[class]
		}
		losses[i] = -src[(i/inner*count+class)*inner+i%inner] * weight
		total += float64(weight)
	}
	return losses, total, nil
}

func (l loss) reduce(r *run, out *tensor, shape []int, losses []float32, total float64) error {
	if l.reduction == "none" {
		if err := r.makeTensor(out, backends.FP32, shape); err != nil {
			return err
		}
		copy(view[float32](out), losses)
		return nil
	}
	if err := r.makeTensor(out, backends.FP32, nil); err != nil {
		return err
	}
	sum := 0.0
	for _, v := range losses {
		sum += float64(v)
	}
	if l.reduction == "mean" {
		sum /= total
	}
	view[float32](out)[0] = float32(sum)
	return nil
}
