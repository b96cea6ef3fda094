// Package gpu reaches devices through gorgonia.org/cu, which needs cgo and what `make cuda` makes:
// all of it is built with the tag cuda only.
package gpu
