//go:build cuda

package gpu

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"sync"

	"gorgonia.org/cu"

	"github.com/thrumserve/thrum/backends/cuda"
	"github.com/thrumserve/thrum/backends/cuda/cublaslt"
	"github.com/thrumserve/thrum/backends/cuda/driver"
)

// Machine is the devices of this machine. It may be used by many goroutines.
type Machine struct {
	driver  *driver.Driver
	devices []cuda.Device
	library *cublaslt.Library
	lacking error // why there is no library
	pools   map[int]driver.Pool

	mu       sync.Mutex
	contexts map[int]cu.CUContext
	modules  map[int]cuda.Module // of contexts
}

// Open finds the devices. Its error says why there are none; see driver.Open.
func Open() (cuda.Machine, error) {
	d, err := driver.Open()
	if err != nil {
		return nil, err
	}
	m := &Machine{driver: d, pools: map[int]driver.Pool{}, contexts: map[int]cu.CUContext{}, modules: map[int]cuda.Module{}}
	m.library, m.lacking = cublaslt.Open(d.Version())
	n, err := cu.NumDevices()
	if err != nil {
		return nil, m.failed("cuDeviceGetCount", err)
	}
	for i := range n {
		device, err := m.describe(i)
		if err != nil {
			return nil, fmt.Errorf("device %d: %w", i, err)
		}
		m.devices = append(m.devices, device)
		if err := m.findPool(i); err != nil {
			return nil, fmt.Errorf("device %d: %w", i, err)
		}
	}
	return m, nil
}

// hasPools is an attribute that package cu does not know, CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED.
const hasPools cu.DeviceAttribute = 115

func (m *Machine) findPool(device int) error {
	has, err := cu.Device(device).Attribute(hasPools)
	if err != nil || has == 0 {
		return m.failed("cuDeviceGetAttribute", err)
	}
	m.pools[device], err = m.driver.DefaultPool(device)
	return err
}

func (m *Machine) describe(i int) (cuda.Device, error) {
	device, err := cu.GetDevice(i)
	if err != nil {
		return cuda.Device{}, m.failed("cuDeviceGet", err)
	}
	name, err := device.Name()
	if err != nil {
		return cuda.Device{}, m.failed("cuDeviceGetName", err)
	}
	memory, err := device.TotalMem()
	if err != nil {
		return cuda.Device{}, m.failed("cuDeviceTotalMem", err)
	}
	uuid, err := m.driver.UUID(i)
	if err != nil {
		return cuda.Device{}, err
	}
	major, err := device.Attribute(cu.ComputeCapabilityMajor)
	minor, second := device.Attribute(cu.ComputeCapabilityMinor)
	processors, third := device.Attribute(cu.MultiprocessorCount)
	return cuda.Device{Name: name, Major: major, Minor: minor, Memory: uint64(memory), UUID: uuid, Processors: processors},
		m.failed("cuDeviceGetAttribute", errors.Join(err, second, third))
}

// Version returns the newest CUDA that the driver speaks.
func (m *Machine) Version() driver.Version { return m.driver.Version() }

// Library returns the library that products may go through, or why there is none.
func (m *Machine) Library() (*cublaslt.Library, error) { return m.library, m.lacking }

// Devices describes the devices.
func (m *Machine) Devices() []cuda.Device { return slices.Clone(m.devices) }

// Memory returns how many bytes of a device are free. What models have given back is among them.
func (m *Machine) Memory(device int) (free uint64, err error) {
	err = m.In(device, func() error {
		if p, ok := m.pools[device]; ok {
			if err := m.driver.Trim(p, 0); err != nil {
				return err
			}
		}
		n, _, err := cu.MemInfo()
		free = uint64(n)
		return m.failed("cuMemGetInfo", err)
	})
	return free, err
}

// In calls f in a thread in which a device's primary context is current.
func (m *Machine) In(device int, f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c, err := m.context(device)
	if err != nil {
		return err
	}
	if err := cu.SetCurrentContext(c); err != nil {
		return m.failed("cuCtxSetCurrent", err)
	}
	return f()
}

func (m *Machine) context(device int) (cu.CUContext, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c, ok := m.contexts[device]; ok {
		return c, nil
	}
	c, err := cu.Device(device).RetainPrimaryCtx()
	if err != nil {
		return cu.CUContext{}, m.failed("cuDevicePrimaryCtxRetain", err)
	}
	m.contexts[device] = c
	return c, nil
}

// Close gives the contexts back.
func (m *Machine) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []error
	for device := range m.contexts {
		all = append(all, m.failed("cuDevicePrimaryCtxRelease", cu.Device(device).ReleasePrimaryCtx()))
		delete(m.contexts, device)
		delete(m.modules, device)
	}
	return errors.Join(all...)
}

// failed makes a *driver.Error of an error of package cu, whose type is hidden and whose value is
// the driver's result.
func (m *Machine) failed(call string, err error) error {
	if err == nil {
		return nil
	}
	var all interface{ Unwrap() []error }
	if errors.As(err, &all) {
		err = all.Unwrap()[0]
	}
	v := reflect.ValueOf(err)
	if v.Kind() != reflect.Int {
		return fmt.Errorf("%s: %w", call, err)
	}
	return m.driver.Error(call, driver.Result(v.Int()))
}

// Context returns a device as an engine uses it.
func (m *Machine) Context(device int) cuda.Context {
	_, pooled := m.pools[device]
	return &context{Driver: m.driver, machine: m, device: device, pooled: pooled}
}
