package forms

import (
	"fmt"
	"math"

	"github.com/thrumserve/thrum/backends"
)

// Network is a residual network of bottlenecks, whose normalisations are in its convolutions already:
// images [rows, 3, Size, Size] in, [rows, Classes] out.
type Network struct {
	Size, Width, Classes int
	Stages               []int // bottlenecks of each
}

// ResNet50 is the network of that name, with strides in the convolutions of 3 × 3.
var ResNet50 = Network{Size: 224, Width: 64, Classes: 1000, Stages: []int{3, 4, 6, 3}}

// Kind implements Model.
func (Network) Kind() string { return "network" }

// Batch implements Model.
func (n Network) Batch(rows int) backends.Batch {
	return batch(numbers("x", rows, 3*n.Size*n.Size, int64(rows), 3, int64(n.Size), int64(n.Size)))
}

func (n Network) build(g *graph) {
	x := g.input("x", float32s, -1, 3, n.Size, n.Size)
	x = g.node("Relu", nil, g.conv("stem", x, 3, n.Width, 7, 2, 1))
	x = g.node("MaxPool", attributes{"kernel_shape": []int64{3, 3}, "pads": []int64{1, 1, 1, 1}, "strides": []int64{2, 2}}, x)
	in, width := n.Width, n.Width
	for s, blocks := range n.Stages {
		for b := range blocks {
			stride := 1
			if s > 0 && b == 0 {
				stride = 2
			}
			x = g.bottleneck(fmt.Sprintf("stages.%d.%d", s, b), x, in, width, stride)
			in = 4 * width
		}
		width *= 2
	}
	x = g.node("Flatten", nil, g.node("GlobalAveragePool", nil, x))
	g.output(g.layer("classes", x, in, n.Classes), float32s, -1, n.Classes)
}

// bottleneck narrows, convolves and widens, and adds what came in.
func (g *graph) bottleneck(name, x string, in, width, stride int) string {
	y := g.node("Relu", nil, g.conv(name+".a", x, in, width, 1, 1, 1))
	y = g.node("Relu", nil, g.conv(name+".b", y, width, width, 3, stride, 1))
	y = g.conv(name+".c", y, width, 4*width, 1, 1, 0.2) // small, so that sums do not grow through the network
	if in != 4*width {
		x = g.conv(name+".skip", x, in, 4*width, 1, stride, 0.7)
	}
	return g.node("Relu", nil, g.node("Add", nil, y, x))
}

// conv keeps the deviation of what was rectified, times a gain.
func (g *graph) conv(name, x string, in, out, size, stride int, gain float64) string {
	pad, s, k := int64(size/2), int64(stride), int64(size)
	w := g.weight(name+".weight", 0, gain*math.Sqrt(2/float64(in*size*size)), out, in, size, size)
	return g.node("Conv", attributes{"kernel_shape": []int64{k, k}, "pads": []int64{pad, pad, pad, pad}, "strides": []int64{s, s}},
		x, w, g.weight(name+".bias", 0, 0.02, out))
}
