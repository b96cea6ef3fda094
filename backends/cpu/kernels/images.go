package kernels

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

// fill copies a plane to dst, with the value pad around it.
func (l *lattice) fill(dst, plane []float32, pad float32) {
	stride, pads := l.window.Stride, l.window.Pads
	for _, rowPhase := range l.rowPhases {
		for _, colPhase := range l.colPhases {
			for i := range l.rows {
				row := dst[:l.cols]
				dst = dst[l.cols:]
				y := i*stride[0] + rowPhase - pads[0]
				if y < 0 || y >= l.height {
					fill(row, pad)
					continue
				}
				l.fillRow(row, plane[y*l.width:][:l.width], colPhase, pad)
			}
		}
	}
}

// fillRow copies every stride-th value of src, the first at column colPhase of the padded row.
func (l *lattice) fillRow(row, src []float32, colPhase int, pad float32) {
	step, first := l.window.Stride[1], colPhase-l.window.Pads[1]
	left := 0
	if first < 0 {
		left = min((-first+step-1)/step, len(row))
	}
	inside := 0
	if at := left*step + first; at < len(src) {
		inside = min((len(src)-1-at)/step+1, len(row)-left)
		every(row[left:left+inside], src[at:], step)
	}
	fill(row[:left], pad)
	fill(row[left+inside:], pad)
}

// every sets dst[i] = src[i*step].
func every(dst, src []float32, step int) {
	if step == 1 {
		copy(dst, src)
		return
	}
	done := 0
	if step == 2 {
		done = everySecond(dst, src)
	}
	for i := done; i < len(dst); i++ {
		dst[i] = src[i*step]
	}
}

func fill(x []float32, v float32) {
	for i := range x {
		x[i] = v
	}
}
