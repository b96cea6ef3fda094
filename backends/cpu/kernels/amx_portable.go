//go:build purego || !amd64

package kernels

func (p *tileProduct) run(Precision) { panic("kernels: this build has no tiles") }
func (t *tile) finishSums(Level)     { t.finishSumsPortable() }
