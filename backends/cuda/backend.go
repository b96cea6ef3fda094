package cuda

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cuda/cublaslt"
	"github.com/thrumserve/thrum/backends/cuda/driver"
	"github.com/thrumserve/thrum/backends/onnx"
)

// Backend is a backends.Backend of a machine with devices, or says why there are none.
type Backend struct {
	machine Machine
	refusal error       // why there is no machine
	end     func(error) // ends the process
	image   func(major, minor int) ([]byte, error)

	pins       pins
	management *management
	meter      *meter

	mu     sync.Mutex
	models map[*model]bool // those loaded; guarded by mu
	closed bool            // guarded by mu
}

// New returns the backend of what open returns. If open fails, Info and Load fail with its error. image
// returns the kernels for devices of a compute capability, as kernels.Image does.
func New(open func() (Machine, error), image func(major, minor int) ([]byte, error)) *Backend {
	m := newManagement()
	b := &Backend{image: image, management: m, meter: newMeter(m.read), models: map[*model]bool{}}
	b.end = func(err error) {
		m.settle()
		end(err)
	}
	b.machine, b.refusal = open()
	return b
}

// end ends a process with which the driver has done, for its host to start another. The last line
// of standard error is what the host gives as the reason; os.Stderr may lead elsewhere in a plugin.
func end(err error) {
	fmt.Fprintf(os.NewFile(uintptr(syscall.Stderr), "stderr"), "the device answers this process no more: %v\n", err)
	os.Exit(backends.DeviceFailed)
}

// Info describes the devices. Without any, its error says why.
func (b *Backend) Info(context.Context) (backends.Info, error) {
	if b.refusal != nil {
		return backends.Info{}, b.refusal
	}
	return backends.Info{
		Name:        "cuda",
		Version:     "1",
		Device:      fmt.Sprintf("%s; driver for CUDA %v; %s", describe(b.machine.Devices()), b.machine.Version(), b.multiplies()),
		Concurrency: lanes,
	}, nil
}

// library returns the library that products may go through, nil if there is none.
func (b *Backend) library() *cublaslt.Library {
	l, err := b.machine.Library()
	if err != nil {
		return nil
	}
	return l
}

// multiplies says what products are computed by.
func (b *Backend) multiplies() string {
	if l := b.library(); l != nil {
		return "cuBLASLt " + l.Version()
	}
	return "no cuBLASLt"
}

// Load reads a model and brings its weights to a device. A model that does not fit the memory that the
// device has free is an ErrUnavailable with the figures.
//
// Its options are "device", the number of a device, 0 if it is not given, "precision": fp32, tf32,
// fp16, bf16, or int8 for quantised files, and "products": fastest, kernels or cublaslt.
func (b *Backend) Load(ctx context.Context, spec backends.Spec) (backends.Model, error) {
	if b.refusal != nil {
		return nil, b.refusal
	}
	o, err := b.options(spec.Options)
	if err != nil {
		return nil, err
	}
	g, err := onnx.Load(spec.Dir, "model.onnx")
	if err != nil {
		return nil, err
	}
	account, err := b.account(o.device)
	if err != nil {
		return nil, err
	}
	purpose := fmt.Sprintf("model %s, version %s,", spec.Model, spec.Version)
	d := b.machine.Devices()[o.device]
	image, err := b.image(d.Major, d.Minor)
	if err != nil {
		return nil, backends.Errorf(backends.ErrUnsupported, "%v: %w", d, err)
	}
	b.management.watch(d.UUID)
	b.pins.use(b.machine.Context(o.device))
	e, err := newEngine(b.machine.Context(o.device), image, account, purpose, b)
	if err != nil {
		return nil, err
	}
	e.processors = int64(b.machine.Devices()[o.device].Processors)
	e.products = newProducts(b.library(), o.products)
	m, err := newModel(ctx, g, e, o.precision, spec)
	if err != nil {
		return nil, errors.Join(err, e.close())
	}
	e.products.report(purpose)
	e.products.serving = true
	m.device = o.device
	return m, b.add(m)
}

// add keeps a model until it is closed.
func (b *Backend) add(m *model) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return errors.Join(backends.Errorf(backends.ErrUnavailable, "the backend is closed"), m.Close())
	}
	b.models[m] = true
	m.gone = func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.models, m)
	}
	return nil
}

// precision is what products are computed in.
type precision struct {
	name  string
	float backends.Datatype // of what lies between inputs and outputs
	tf32  bool
	int8  bool // products of what is dequantised
}

// precisions are those that a model may ask for, the default first.
var precisions = []precision{
	{name: "fp32", float: backends.FP32}, {name: "tf32", float: backends.FP32, tf32: true},
	{name: "fp16", float: backends.FP16}, {name: "bf16", float: backends.BF16},
	{name: "int8", float: backends.FP32, int8: true},
}

// options are a model's.
type options struct {
	device    int
	precision precision
	products  preference
}

func (b *Backend) options(settings map[string]string) (options, error) {
	o := options{precision: precisions[0], products: fastest}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		var err error
		switch value := settings[name]; name {
		case "device":
			o.device, err = b.device(value)
		case "precision":
			i := slices.IndexFunc(precisions, func(p precision) bool { return p.name == value })
			if i < 0 {
				return o, backends.Errorf(backends.ErrInvalid, "precision %q: use fp32, tf32, fp16, bf16 or int8", value)
			}
			o.precision = precisions[i]
		case "products":
			o.products, err = b.preference(value)
		default:
			return o, backends.Errorf(backends.ErrInvalid, "unknown option %q: backend cuda has device, precision and products", name)
		}
		if err != nil {
			return o, err
		}
	}
	return o, nil
}

// preference reads what products are computed by.
func (b *Backend) preference(value string) (preference, error) {
	p := preference(value)
	if p != fastest && p != ours && p != librarys {
		return p, backends.Errorf(backends.ErrInvalid, "products %q: use fastest, kernels or cublaslt", value)
	}
	if _, err := b.machine.Library(); p == librarys && err != nil {
		return p, backends.Errorf(backends.ErrUnavailable, "products %q: there is no cuBLASLt: %w: install it where the loader looks or beside the program, or say kernels", value, err)
	}
	return p, nil
}

// device reads the number of a device.
func (b *Backend) device(value string) (int, error) {
	n, err := strconv.Atoi(value)
	if last := len(b.machine.Devices()) - 1; err != nil || n < 0 || n > last {
		return 0, backends.Errorf(backends.ErrInvalid, "device %q: this machine has 0 to %d, see `nvidia-smi -L`", value, last)
	}
	return n, nil
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

// Share tells of memory in which batches arrive and answers are read: devices copy from it and to it without
// a detour where the driver pins it. It is pinned until end is called.
func (b *Backend) Share(mem []byte) (end func()) { return b.pins.share(mem) }

// Close closes all models and ends the use of the devices.
func (b *Backend) Close() error {
	b.mu.Lock()
	first := !b.closed
	b.closed = true
	all := slices.Collect(maps.Keys(b.models))
	b.mu.Unlock()
	var err error
	for _, m := range all {
		err = errors.Join(err, m.Close())
	}
	if b.machine != nil && first {
		close(b.management.stop)
		b.pins.close()
		err = errors.Join(err, b.machine.Close())
	}
	return err
}
