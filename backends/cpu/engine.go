package cpu

// engine is what all models of one backend share.
type engine struct {
	limit int // bytes of the largest value that a step may make
}
