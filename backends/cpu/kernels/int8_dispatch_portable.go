//go:build purego || !amd64

package kernels

// Every function here branches on the level in the build that has assembly. Those that do something
// return how much; the others are for levels above Portable.

func interleaveLevel([]float32, [4][]byte, byte) int                   { return 0 }
func splitLevel([]float32, []byte, byte) int                           { return 0 }
func sumLevel([]byte, byte) (total, done int)                          { return 0, 0 }
func moveLevel(_, _ []byte, _ byte) (total, done int)                  { return 0, 0 }
func quantizeLevel([]byte, []float32, int32, [3]float32, bool)         {}
func dequantizeLevel([]float32, []byte, byte, int32, float32)          {}
func requantizeLevel([]byte, []int32, []float32, int32, [2]float32)    {}
func scaleSumsLevel([]float32, []int32, float32, []float32, []float32) {}
func correctLevel(_, _ []int32, _, _ int32) bool                       { return false }
func wholeSumsLevel([]int32, int32) int                                { return 0 }
