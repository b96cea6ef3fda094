//go:build purego || !amd64

package kernels

// Every function here branches on the level in the build that has assembly.

func maxRows(Level) int                                       { return 4 }
func maxPanels(Level, int) int                                { return 1 }
func (t *tile) run(Level)                                     { tilePortable(t) }
func (s *spots) run(Level)                                    { s.portable() }
func (s *spots) turn(Level)                                   { s.turnPortable() }
func (w *winogradIn) transform(_ Level, m int)                { w.portable(m) }
func (w *winogradOut) run(_ Level, m int)                     { w.portable(m) }
func (d *depth) run()                                         { panic("kernels: not at this level") }
func (s *sweep) run(Level)                                    { s.portable() }
func applyLevel(Level, []float32, []float32, Activation) bool { return false }
func combineLevel(_ Level, op Operator, dst, a, b []float32)  { combinePortable(op, dst, a, b) }
func sum(x []float32) float32                                 { return sumPortable(x) }
func sumSquares(x []float32, center float32) float32          { return sumSquaresPortable(x, center) }
func largest(x []float32) float32                             { return largestPortable(x) }
func smallest(x []float32) float32                            { return smallestPortable(x) }
func expSum(dst, src []float32, shift float32) float32        { return expSumPortable(dst, src, shift) }
func normalize(dst, src []float32, n Norm, m moments)         { normalizePortable(dst, src, n, m) }
func copyPanel(panel []float32, b Matrix)                     { packTail(panel, b) }
func transposePanel([]float32, Matrix) int                    { return 0 }
func (b block) run(dst, src []float32)                        { b.portable(dst, src) }

func gatherPanel(dst, src []float32, offsets []int, positions []int32) {
	gatherPortable(dst, src, offsets, positions)
}
