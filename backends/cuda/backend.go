package cuda

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cuda/driver"
	"github.com/thrumserve/thrum/backends/onnx"
)

// Machine is the devices of this machine, reached through a driver.
type Machine interface {
	// Version is the newest CUDA that the driver speaks.
	Version() driver.Version
	// Devices describes the devices, of which there is at least one.
	Devices() []Device
	// Memory returns how many bytes of a device are free. It makes a context there.
	Memory(device int) (free uint64, err error)
	Close() error
}

// Backend is a backends.Backend of a machine with devices, or says why there are none.
type Backend struct {
	machine Machine
	refusal error       // why there is no machine
	end     func(error) // ends the process
}

// New returns the backend of what open returns. If open fails, Info and Load fail with its error.
func New(open func() (Machine, error)) *Backend {
	b := &Backend{end: end}
	b.machine, b.refusal = open()
	return b
}

// end ends a process with which the driver has done, for its host to start another. The last line
// of standard error is what the host gives as the reason; os.Stderr may lead elsewhere in a plugin.
func end(err error) {
	fmt.Fprintf(os.NewFile(uintptr(syscall.Stderr), "stderr"), "the device answers this process no more: %v\n", err)
	os.Exit(1)
}

// Info describes the devices. Without any, its error says why.
func (b *Backend) Info(context.Context) (backends.Info, error) {
	if b.refusal != nil {
		return backends.Info{}, b.refusal
	}
	return backends.Info{
		Name:    "cuda",
		Version: "0",
		Device:  fmt.Sprintf("%s; driver for CUDA %v", describe(b.machine.Devices()), b.machine.Version()),
	}, nil
}

// Load refuses every model: one whose constants do not fit the memory that the device has free
// with an ErrUnavailable, and any other with an ErrUnsupported, since no model is run yet.
//
// Its option is "device", the number of a device, 0 if it is not given.
func (b *Backend) Load(_ context.Context, spec backends.Spec) (backends.Model, error) {
	if b.refusal != nil {
		return nil, b.refusal
	}
	device, err := b.device(spec.Options)
	if err != nil {
		return nil, err
	}
	g, err := onnx.Load(spec.Dir, "model.onnx")
	if err != nil {
		return nil, err
	}
	account, err := b.account(device)
	if err != nil {
		return nil, err
	}
	release, err := account.Reserve(fmt.Sprintf("model %s, version %s,", spec.Model, spec.Version), constants(g))
	if err != nil {
		return nil, err
	}
	defer release()
	return nil, backends.Errorf(backends.ErrUnsupported, "backend cuda runs no models yet, it only finds devices: say `backend: cpu` in model.yaml")
}

// device reads the options.
func (b *Backend) device(options map[string]string) (int, error) {
	device := 0
	for name, value := range options {
		if name != "device" {
			return 0, backends.Errorf(backends.ErrInvalid, "unknown option %q: backend cuda has device", name)
		}
		n, err := strconv.Atoi(value)
		if last := len(b.machine.Devices()) - 1; err != nil || n < 0 || n > last {
			return 0, backends.Errorf(backends.ErrInvalid, "device %q: this machine has 0 to %d, see `nvidia-smi -L`", value, last)
		}
		device = n
	}
	return device, nil
}

func (b *Backend) account(device int) (*Account, error) {
	free, err := b.machine.Memory(device)
	if driver.Sticky(err) {
		b.end(err)
	}
	if err != nil {
		return nil, fmt.Errorf("device %d: %w", device, err)
	}
	return NewAccount(fmt.Sprintf("device %d", device), free), nil
}

// constants returns the bytes of what a graph knows at load.
func constants(g *onnx.Graph) uint64 {
	n := uint64(0)
	for _, v := range g.Values {
		if v.Const != nil {
			n += uint64(len(v.Const.Data))
		}
	}
	return n
}

// Close ends the use of the devices.
func (b *Backend) Close() error {
	if b.machine == nil {
		return nil
	}
	return b.machine.Close()
}
