package cpu

import (
	"math"
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// buildGridSample builds the reading of planes at the places that a grid gives.
func buildGridSample(n *node) (kernel, error) {
	if n.input(0) != backends.FP32 || n.input(1) != backends.FP32 {
		return nil, n.unsupported("inputs of %v and %v", n.input(0), n.input(1))
	}
	s := sampling{mode: n.string("mode", "linear"), padding: n.string("padding_mode", "zeros"), corners: n.int("align_corners", 0) != 0}
	switch s.mode {
	case "bilinear":
		s.mode = "linear"
	case "bicubic":
		s.mode = "cubic"
	case "nearest", "linear", "cubic":
	default:
		return nil, n.unsupported("mode %q", s.mode)
	}
	switch s.padding {
	case "zeros", "border", "reflection":
		return s.kernel, nil
	}
	return nil, n.unsupported("padding_mode %q", s.padding)
}

type sampling struct {
	mode, padding string
	corners       bool // -1 and 1 are the centers of the outermost elements, not their edges
}

func (s sampling) kernel(r *run, in, out []*tensor) error {
	x, g := in[0], in[1]
	dims := x.rank() - 2
	if dims < 1 || g.rank() != dims+2 || g.shape[0] != x.shape[0] || g.shape[dims+1] != dims || x.len() == 0 && g.len() > 0 {
		return backends.Errorf(backends.ErrInvalid, "a grid of shape %v for an input of shape %v", g.shape, x.shape)
	}
	if err := r.makeTensor(out[0], x.dtype, slices.Concat(x.shape[:2], g.shape[1:dims+1])); err != nil {
		return err
	}
	size := x.shape[2:]
	plane, area, channels := product(size), product(g.shape[1:dims+1]), x.shape[1]
	src, grid, dst := view[float32](x), view[float32](g), view[float32](out[0])
	r.forRows(x.shape[0]*area, channels*16, func(lo, hi int) {
		reads := make([]mix, dims)
		for i := lo; i < hi; i++ {
			image, at := i/area, i%area
			for d, n := range size {
				// A grid has the last dimension first.
				reads[d] = s.read(grid[i*dims+dims-1-d], n)
			}
			for c := range channels {
				from := src[(image*channels+c)*plane:][:plane]
				dst[(image*channels+c)*area+at] = gathered(from, size, reads)
			}
		}
	})
	return nil
}

// gathered returns the weighed mean of the elements that reads, one per dimension, name; -1 is 0.
func gathered(plane []float32, size []int, reads []mix) float32 {
	if len(reads) == 0 {
		return plane[0]
	}
	sum, inner := float32(0), product(size[1:])
	for i, at := range reads[0].at {
		if at >= 0 && reads[0].shares[i] != 0 {
			sum += reads[0].shares[i] * gathered(plane[at*inner:(at+1)*inner], size[1:], reads[1:])
		}
	}
	return sum
}

// read returns what is read along a dimension of n elements at a place between -1 and 1, or
// beyond.
func (s sampling) read(place float32, n int) mix {
	at := ((float64(place)+1)*float64(n) - 1) / 2
	if s.corners {
		at = (float64(place) + 1) / 2 * float64(n-1)
	}
	if !(math.Abs(at) < 1<<30) {
		at = -1 << 30 // far from everything, where NaN and infinity are too
	}
	if s.mode == "nearest" {
		at = math.RoundToEven(at)
	}
	low, high := s.borders(n)
	if at < low || at > high {
		switch s.padding {
		case "border":
			if s.mode != "cubic" { // whose four elements are each held to the border
				at = max(0, min(at, float64(n-1)))
			}
		case "reflection":
			at = reflected(at, low, high)
		}
	}
	if s.mode == "nearest" {
		return mix{[]int{s.inside(int(at), n)}, []float32{1}}
	}
	first, count, weight := 0, 2, tent
	if s.mode == "cubic" {
		first, count, weight = -1, 4, func(x float64) float64 { return cubic(x, -0.75) }
	}
	m := mix{make([]int, count), make([]float32, count)}
	floor := math.Floor(at)
	for i := range count {
		m.at[i] = s.inside(int(floor)+first+i, n)
		m.shares[i] = float32(weight(floor + float64(first+i) - at))
	}
	return m
}

func (s sampling) borders(n int) (low, high float64) {
	if s.corners {
		return 0, float64(n - 1)
	}
	return -0.5, float64(n) - 0.5
}

// inside returns the element that stands for index i, -1 for none.
func (s sampling) inside(i, n int) int {
	if i >= 0 && i < n {
		return i
	}
	switch s.padding {
	case "border":
		return max(0, min(i, n-1))
	case "reflection":
		low, high := s.borders(n)
		return max(0, min(int(reflected(float64(i), low, high)), n-1))
	}
	return -1
}

// reflected returns where at is after as many reflections at the borders as it takes.
func reflected(at, low, high float64) float64 {
	span := high - low
	if span <= 0 {
		return low
	}
	past := math.Mod(math.Abs(at-low), 2*span)
	if past > span {
		past = 2*span - past
	}
	return low + past
}

// buildAffineGrid builds the grid that a linear map of the output's places gives.
func buildAffineGrid(n *node) (kernel, error) {
	if n.input(0) != backends.FP32 {
		return nil, n.unsupported("an input of %v", n.input(0))
	}
	corners, target := n.int("align_corners", 0) != 0, n.list("", 1)
	return func(r *run, in, out []*tensor) error {
		size, err := target(in)
		if err != nil {
			return err
		}
		dims := len(size) - 2
		if dims != 2 && dims != 3 || slices.ContainsFunc(size, negative) || !slices.Equal(in[0].shape, []int{size[0], dims, dims + 1}) {
			return backends.Errorf(backends.ErrInvalid, "maps of shape %v for an output of shape %v", in[0].shape, size)
		}
		if err := r.makeTensor(out[0], backends.FP32, append(append([]int{size[0]}, size[2:]...), dims)); err != nil {
			return err
		}
		affine(view[float32](out[0]), view[float32](in[0]), size[2:], corners)
		return nil
	}, nil
}

// affine applies each map to the places of all elements of planes of the given size.
func affine(dst, maps []float32, size []int, corners bool) {
	dims, area := len(size), product(size)
	place := make([]float64, dims)
	for i := range len(dst) / dims {
		at := i % area
		for d := dims - 1; d >= 0; d-- {
			n := size[d]
			place[d] = (2*float64(at%n)+1)/float64(n) - 1
			if corners && n > 1 {
				place[d] = 2*float64(at%n)/float64(n-1) - 1
			}
			at /= n
		}
		rows := maps[i/area*dims*(dims+1):]
		for d := range dims {
			row := rows[d*(dims+1):]
			sum := float64(row[dims])
			for k := range dims {
				sum += float64(row[k]) * place[dims-1-k]
			}
			dst[i*dims+d] = float32(sum)
		}
	}
}

// buildRoiAlign builds the pooling of regions whose borders lie between elements.
func buildRoiAlign(n *node) (kernel, error) {
	if n.input(0) != backends.FP32 || n.input(1) != backends.FP32 {
		return nil, n.unsupported("inputs of %v and %v", n.input(0), n.input(1))
	}
	a := roiAlign{
		size: [2]int{n.int("output_height", 1), n.int("output_width", 1)}, samples: n.int("sampling_ratio", 0),
		scale: n.float("spatial_scale", 1), largest: n.string("mode", "avg") == "max",
	}
	mode := n.string("coordinate_transformation_mode", "half_pixel")
	if n.Opset < 16 {
		mode = "output_half_pixel"
	}
	a.shifted = mode == "half_pixel"
	if a.size[0] < 1 || a.size[1] < 1 || a.samples < 0 || a.samples > maxSamples || mode != "half_pixel" && mode != "output_half_pixel" {
		return nil, backends.Errorf(backends.ErrInvalid, "an output of %v, sampling_ratio %d, coordinate_transformation_mode %q", a.size, a.samples, mode)
	}
	return a.kernel, nil
}

// maxSamples bounds how finely a region is sampled in each dimension.
const maxSamples = 1 << 12

type roiAlign struct {
	size    [2]int
	samples int // in each dimension of a bin; 0 for as many as there are elements
	scale   float32
	largest bool
	shifted bool // places count from the edges of elements, not from their centers
}

func (a roiAlign) kernel(r *run, in, out []*tensor) error {
	x, rois := in[0], in[1]
	if x.rank() != 4 || rois.rank() != 2 || rois.shape[1] != 4 || in[2].len() != rois.shape[0] || x.shape[2] < 1 || x.shape[3] < 1 {
		return backends.Errorf(backends.ErrInvalid, "regions of shape %v in images %v of shape %v", rois.shape, in[2].shape, x.shape)
	}
	images, err := r.indices(in[2], x.shape[0])
	if err != nil {
		return err
	}
	if err := r.makeTensor(out[0], x.dtype, []int{rois.shape[0], x.shape[1], a.size[0], a.size[1]}); err != nil {
		return err
	}
	plane, area := x.shape[2]*x.shape[3], a.size[0]*a.size[1]
	dst := view[float32](out[0])
	for i, image := range images {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		roi := view[float32](rois)[4*i : 4*i+4]
		rows, err := a.bins(roi[1], roi[3], a.size[0], x.shape[2])
		if err != nil {
			return err
		}
		cols, err := a.bins(roi[0], roi[2], a.size[1], x.shape[3])
		if err != nil {
			return err
		}
		for c := range x.shape[1] {
			from := view[float32](x)[(image*x.shape[1]+c)*plane:][:plane]
			for j := range area {
				dst[(i*x.shape[1]+c)*area+j] = a.pool(from, x.shape[3], rows[j/a.size[1]], cols[j%a.size[1]])
			}
		}
	}
	return nil
}

// bins returns what the samples of each bin read along one dimension of n elements.
func (a roiAlign) bins(from, to float32, bins, n int) ([][]mix, error) {
	shift := float32(0)
	if a.shifted {
		shift = 0.5
	}
	// FP32 throughout: how many samples a bin has hangs on the last bit.
	first, span := from*a.scale-shift, (to*a.scale-shift)-(from*a.scale-shift)
	if !a.shifted {
		span = max(1, span)
	}
	start, width := float64(first), float64(span/float32(bins))
	count := a.samples
	if count == 0 {
		if !(width <= maxSamples) {
			return nil, backends.Errorf(backends.ErrInvalid, "a region from %v to %v in %d bins", from, to, bins)
		}
		count = max(0, int(math.Ceil(width)))
	}
	all := make([][]mix, bins)
	for b := range all {
		for i := range count {
			all[b] = append(all[b], bilinear(start+width*(float64(b)+(float64(i)+0.5)/float64(count)), n))
		}
	}
	return all, nil
}

// bilinear returns the two elements between which a place lies, none if it is outside.
func bilinear(at float64, n int) mix {
	if !(at >= -1 && at <= float64(n)) {
		return mix{}
	}
	at = max(0, min(at, float64(n-1)))
	low := int(at)
	high := min(low+1, n-1)
	share := float32(at - float64(low))
	return mix{[]int{low, high}, []float32{1 - share, share}}
}

// pool makes one number of the samples of a bin.
func (a roiAlign) pool(plane []float32, width int, rows, cols []mix) float32 {
	sum, top := 0.0, float32(math.Inf(-1))
	for _, row := range rows {
		for _, col := range cols {
			for i, y := range row.at {
				for j, x := range col.at {
					v := row.shares[i] * col.shares[j] * plane[y*width+x]
					sum, top = sum+float64(v), max(top, v)
				}
			}
			if row.at == nil || col.at == nil {
				top = max(top, 0)
			}
		}
	}
	switch n := len(rows) * len(cols); {
	case n == 0:
		return 0
	case a.largest:
		return top
	default:
		return float32(sum / float64(n))
	}
}
