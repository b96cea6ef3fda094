package plugins

import (
	"os"
	"syscall"
)

// weightsKey tells a plugin that it has inherited Options.Weights as weightsFD.
const (
	weightsKey   = "THRUM_PLUGIN_WEIGHTS"
	weightsValue = "1"
	weightsFD    = memoryFD + 2
)

// openWeights returns the file that the host has passed on, or nil if it has none.
func openWeights() *os.File {
	if os.Getenv(weightsKey) != weightsValue {
		return nil
	}
	syscall.CloseOnExec(weightsFD)
	return os.NewFile(weightsFD, "weights")
}
