package plugins

import (
	"os"
	"syscall"
)

// weightsKey tells a plugin that it has inherited Options.Weights as weightsFD, and lockerKey the same of
// Options.Locker and lockerFD.
const (
	weightsKey   = "THRUM_PLUGIN_WEIGHTS"
	lockerKey    = "THRUM_PLUGIN_LOCKER"
	weightsValue = "1"
	weightsFD    = memoryFD + 2
	lockerFD     = weightsFD + 1
)

// inherited returns the file that the host has passed on as fd, or nil if key does not say that it has.
func inherited(key string, fd int) *os.File {
	if os.Getenv(key) != weightsValue {
		return nil
	}
	syscall.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), key)
}
