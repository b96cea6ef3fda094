package cpu

import (
	"math"
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// buildNonMaxSuppression builds the choice of the best boxes among those that overlap.
func buildNonMaxSuppression(n *node) (kernel, error) {
	b := boxChoice{centered: n.int("center_point_box", 0) != 0, most: n.list("", 2)}
	return b.kernel, nil
}

type boxChoice struct {
	centered bool // boxes are a center and a size, not two corners
	most     list
}

// box is a rectangle, its corners in order.
type box struct{ top, left, bottom, right float32 }

func (b boxChoice) kernel(r *run, in, out []*tensor) error {
	boxes, scores := in[0], in[1]
	if boxes.rank() != 3 || scores.rank() != 3 || boxes.shape[2] != 4 || scores.shape[0] != boxes.shape[0] || scores.shape[2] != boxes.shape[1] {
		return backends.Errorf(backends.ErrInvalid, "boxes of shape %v with scores of shape %v", boxes.shape, scores.shape)
	}
	most, err := b.most(in)
	if err != nil {
		return err
	}
	limit := 0
	if len(most) == 1 {
		limit = max(0, most[0])
	}
	overlap, least := numberOf(in, 3, 0), numberOf(in, 4, float32(math.Inf(-1)))
	count, classes := boxes.shape[1], scores.shape[1]
	var chosen []int64
	for image := range boxes.shape[0] {
		all := b.boxes(view[float32](boxes)[image*count*4:][:count*4])
		for class := range classes {
			kept, err := b.choose(r, all, view[float32](scores)[(image*classes+class)*count:][:count], boxLimits{limit, overlap, least})
			if err != nil {
				return err
			}
			for _, i := range kept {
				chosen = append(chosen, int64(image), int64(class), int64(i))
			}
		}
	}
	if err := r.makeTensor(out[0], backends.Int64, []int{len(chosen) / 3, 3}); err != nil {
		return err
	}
	copy(view[int64](out[0]), chosen)
	return nil
}

// numberOf returns the one element of an FP32 input, or otherwise where it is left out.
func numberOf(in []*tensor, i int, otherwise float32) float32 {
	if i >= len(in) || in[i] == nil || in[i].len() != 1 {
		return otherwise
	}
	return view[float32](in[i])[0]
}

func (b boxChoice) boxes(all []float32) []box {
	boxes := make([]box, len(all)/4)
	for i := range boxes {
		v := all[4*i : 4*i+4]
		if b.centered {
			x, y, w, h := v[0], v[1], v[2]/2, v[3]/2
			boxes[i] = box{y - h, x - w, y + h, x + w}
			continue
		}
		boxes[i] = box{min(v[0], v[2]), min(v[1], v[3]), max(v[0], v[2]), max(v[1], v[3])}
	}
	return boxes
}

type boxLimits struct {
	most           int     // boxes of a class
	overlap, score float32 // the largest, the smallest
}

// choose returns the indices of the boxes kept, the best first.
func (b boxChoice) choose(r *run, boxes []box, scores []float32, l boxLimits) ([]int, error) {
	var order, kept []int
	for i, s := range scores {
		if s > l.score {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(i, j int) int {
		switch {
		case scores[i] > scores[j]:
			return -1
		case scores[i] < scores[j]:
			return 1
		}
		return 0
	})
	for _, i := range order {
		if len(kept) >= l.most {
			break
		}
		if err := r.ctx.Err(); err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(kept, func(j int) bool { return boxes[i].overlap(boxes[j]) > l.overlap }) {
			kept = append(kept, i)
		}
	}
	return kept, nil
}

// overlap returns the area that both boxes cover by that which either does.
func (b box) overlap(o box) float32 {
	height := min(b.bottom, o.bottom) - max(b.top, o.top)
	width := min(b.right, o.right) - max(b.left, o.left)
	if height <= 0 || width <= 0 {
		return 0
	}
	both := height * width
	return both / (b.area() + o.area() - both)
}

func (b box) area() float32 { return (b.bottom - b.top) * (b.right - b.left) }
