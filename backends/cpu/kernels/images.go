package kernels

import "math"

// Images are N images of C planes (channels) of H rows of W values, without gaps, in this order.
// One-dimensional data has H = 1.
type Images struct {
	Data       []float32
	N, C, H, W int
}

func (x Images) check(name string) {
	if x.N < 0 || x.C < 0 || x.H < 0 || x.W < 0 || len(x.Data) < x.N*x.C*x.H*x.W {
		panic("kernels: " + name + ": fewer values than the sizes say")
	}
}

// plane returns one plane, counted through all images.
func (x Images) plane(i int) []float32 { return x.Data[i*x.H*x.W:][:x.H*x.W] }

// Window is how a kernel of a convolution or pooling moves over a plane. Heights come first.
type Window struct {
	Kernel   [2]int
	Stride   [2]int // 0 stands for 1
	Dilation [2]int // 0 stands for 1
	Pads     [4]int // top, left, bottom, right
}

// OutSize returns the number of positions of the window on a plane of h x w, not counting those
// that reach beyond the padding. It is 0 where the window is larger than the padded plane.
func (w Window) OutSize(height, width int) (int, int) {
	w = w.normal()
	out := func(size, dim int) int {
		size += w.Pads[dim] + w.Pads[dim+2] - (w.Kernel[dim]-1)*w.Dilation[dim] - 1
		if size < 0 {
			return 0
		}
		return size/w.Stride[dim] + 1
	}
	return out(height, 0), out(width, 1)
}

func (w Window) normal() Window {
	for i := range 2 {
		w.Stride[i] = max(w.Stride[i], 1)
		w.Dilation[i] = max(w.Dilation[i], 1)
	}
	return w
}

func (w Window) check(name string) {
	for _, v := range append(w.Kernel[:], w.Stride[0], w.Stride[1], w.Dilation[0], w.Dilation[1]) {
		if v < 1 {
			panic("kernels: " + name + ": kernel, stride and dilation must be positive")
		}
	}
	for _, v := range w.Pads {
		if v < 0 {
			panic("kernels: " + name + ": negative padding")
		}
	}
}

// lattice is the layout of a plane's copy that makes every tap of a window read consecutive
// values: padding is filled in, and where the window moves in steps of s, rows (and columns) that
// are s apart stand together in a phase.
type lattice struct {
	window        Window
	height, width int   // of the plane
	rows, cols    int   // of a phase
	rowPhases     []int // the phases that some tap reads
	colPhases     []int //
	offsets       []int // of each tap, row by row of the kernel
	size          int   // of all phases
}

// slack is how far vector loads may read past a lattice.
const slack = panelWidth

func newLattice(w Window, in, out [2]int) *lattice {
	reach := func(dim int) int { return (w.Kernel[dim] - 1) * w.Dilation[dim] / w.Stride[dim] }
	l := &lattice{
		window: w, height: in[0], width: in[1],
		rows: out[0] + reach(0), cols: out[1] + reach(1),
	}
	rowPhase := l.phases(0, &l.rowPhases)
	colPhase := l.phases(1, &l.colPhases)
	phase := l.rows * l.cols
	l.size = len(l.rowPhases) * len(l.colPhases) * phase
	for i := range w.Kernel[0] {
		for j := range w.Kernel[1] {
			y, x := i*w.Dilation[0], j*w.Dilation[1]
			at := (rowPhase[y%w.Stride[0]]*len(l.colPhases) + colPhase[x%w.Stride[1]]) * phase
			l.offsets = append(l.offsets, at+y/w.Stride[0]*l.cols+x/w.Stride[1])
		}
	}
	return l
}

// phases lists the phases of one dimension in used and returns the place of each in it.
func (l *lattice) phases(dim int, used *[]int) map[int]int {
	place := map[int]int{}
	for i := range l.window.Kernel[dim] {
		phase := i * l.window.Dilation[dim] % l.window.Stride[dim]
		if _, ok := place[phase]; !ok {
			place[phase] = len(*used)
			*used = append(*used, phase)
		}
	}
	return place
}

// fill copies a plane into dst, whose padding is left as it is.
func (l *lattice) fill(dst, plane []float32) {
	for i, rowPhase := range l.rowPhases {
		firstRow, rows, y := l.inside(0, rowPhase)
		for j, colPhase := range l.colPhases {
			firstCol, cols, x := l.inside(1, colPhase)
			if rows == 0 || cols == 0 {
				continue
			}
			phase := (i*len(l.colPhases) + j) * l.rows * l.cols
			move := block{
				rows: rows, cols: cols, step: l.window.Stride[1],
				dstRow: l.cols, srcRow: l.window.Stride[0] * l.width,
			}
			move.run(dst[phase+firstRow*l.cols+firstCol:], plane[y*l.width+x:])
		}
	}
}

// inside returns which part of a phase, in one dimension, comes from the plane: the first place
// and how many, and which place of the plane the first one is.
func (l *lattice) inside(dim, phase int) (first, n, from int) {
	sizes, lengths := [2]int{l.height, l.width}, [2]int{l.rows, l.cols}
	step := l.window.Stride[dim]
	from = phase - l.window.Pads[dim]
	if from < 0 {
		first = (-from + step - 1) / step
		from += first * step
	}
	if from >= sizes[dim] || first >= lengths[dim] {
		return 0, 0, 0
	}
	return first, min((sizes[dim]-1-from)/step+1, lengths[dim]-first), from
}

// block is a part of rows and columns that is moved.
//
//	for r in rows, i in cols: dst[r*dstRow+i] = src[r*srcRow+i*step]
type block struct {
	rows, cols     int
	step           int
	dstRow, srcRow int
}

func (b block) portable(dst, src []float32) {
	for r := range b.rows {
		from := src[r*b.srcRow:]
		if b.step == 1 {
			copy(dst[r*b.dstRow:][:b.cols], from)
			continue
		}
		for i := range b.cols {
			dst[r*b.dstRow+i] = from[i*b.step]
		}
	}
}

func fill(x []float32, v float32) {
	if math.Float32bits(v) == 0 {
		clear(x)
		return
	}
	for i := range x {
		x[i] = v
	}
}
