package plugins

import (
	"errors"
	"fmt"
	"os"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/plugins/shm"
)

// The ways in which tensors can cross.
const (
	TransportShared = "shm"  // through memory that host and plugin map
	TransportGRPC   = "grpc" // in messages over the control connection
)

// memoryKey tells a plugin that it has inherited what shm.Open needs, from memoryFD on.
const (
	memoryKey   = "THRUM_PLUGIN_SHM"
	memoryValue = "1"
	memoryFD    = hostFD + 1
)

// What a reply says of itself, besides an error's code.
const (
	codeAnswer   = iota // a batch
	codeMoreRoom        // the answer needs as many bytes as the tag says
	codeFault           // an error without a kind, whose text is the reply
	codeKinds           // an error of the first of kinds, and so on
)

// openMemory returns the plugin's end, or nil if the host has offered none that can be used.
func openMemory() (*shm.Plugin, error) {
	if os.Getenv(memoryKey) != memoryValue || !shm.Available {
		return nil, nil
	}
	return shm.Open(os.NewFile(memoryFD, "control region"), os.NewFile(memoryFD+1, "socket"))
}

// codeOf and errorOf are to replies what toStatus and fromStatus are to gRPC.
func codeOf(err error) uint32 {
	for i, k := range kinds {
		if errors.Is(err, k.kind) {
			return uint32(codeKinds + i)
		}
	}
	return codeFault
}

func errorOf(code uint32, text string) error {
	text = shorten(text)
	switch i := int(code) - codeKinds; {
	case i >= 0 && i < len(kinds):
		return backends.Errorf(kinds[i].kind, "%s", text)
	case code == codeFault:
		return errors.New(text)
	}
	return fmt.Errorf("%w: code %d", errAnswer, code)
}
