package driver

import (
	"errors"
	"os"
	"unsafe"
)

// The numbers of CUDA 12's cuda.h.
const (
	allocationPinned   = 1
	handleDescriptor   = 1
	locationDevice     = 1
	granularityMinimum = 0
	accessRead         = 1
	accessReadWrite    = 3
)

// location is a CUmemLocation.
type location struct{ kind, id int32 }

// allocation is a CUmemAllocationProp.
type allocation struct {
	kind, handle int32
	location     location
	_            uintptr
	_            [8]byte
}

// access is a CUmemAccessDesc.
type access struct {
	location location
	flags    int32
}

func shareable(device int) allocation {
	return allocation{kind: allocationPinned, handle: handleDescriptor, location: location{locationDevice, int32(device)}}
}

// Mapping is memory of a device at an address of this process. The memory lives as long as any process
// has a mapping of it or a descriptor.
type Mapping struct {
	Address uint64
	device  int
	bytes   uint64
}

// Share makes at least n bytes of a device, and a descriptor by which other processes map them.
func (d *Driver) Share(device int, n int64) (Mapping, *os.File, error) {
	p := shareable(device)
	bytes, err := d.granules(&p, n)
	if err != nil {
		return Mapping{}, nil, err
	}
	var memory uint64
	if err := d.do(callMemCreate, uintptr(unsafe.Pointer(&memory)), uintptr(bytes), uintptr(unsafe.Pointer(&p)), 0); err != nil {
		return Mapping{}, nil, err
	}
	fd := int32(-1)
	if err := d.do(callMemExport, uintptr(unsafe.Pointer(&fd)), uintptr(memory), handleDescriptor, 0); err != nil {
		return Mapping{}, nil, errors.Join(err, d.do(callMemRelease, uintptr(memory)))
	}
	f := os.NewFile(uintptr(fd), "memory of a device")
	m, err := d.mapped(memory, device, bytes)
	if err != nil {
		return m, nil, errors.Join(err, f.Close())
	}
	return m, f, nil
}

// MapShared maps the n bytes of a device that Share has made in another process.
func (d *Driver) MapShared(device int, f *os.File, n int64) (Mapping, error) {
	p := shareable(device)
	bytes, err := d.granules(&p, n)
	if err != nil {
		return Mapping{}, err
	}
	var memory uint64
	if err := d.do(callMemImport, uintptr(unsafe.Pointer(&memory)), f.Fd(), handleDescriptor); err != nil {
		return Mapping{}, err
	}
	return d.mapped(memory, device, bytes)
}

// granules returns n bytes as whole units of such an allocation.
func (d *Driver) granules(p *allocation, n int64) (uint64, error) {
	var unit uint64
	if err := d.do(callMemGetGranularity, uintptr(unsafe.Pointer(&unit)), uintptr(unsafe.Pointer(p)), granularityMinimum); err != nil {
		return 0, err
	}
	return (uint64(n) + unit - 1) / unit * unit, nil
}

// mapped maps memory, which lives as long as that from then on.
func (d *Driver) mapped(memory uint64, device int, bytes uint64) (m Mapping, err error) {
	defer func() {
		if released := d.do(callMemRelease, uintptr(memory)); err == nil {
			err = released
		}
	}()
	m = Mapping{device: device, bytes: bytes}
	if err := d.do(callMemAddressReserve, uintptr(unsafe.Pointer(&m.Address)), uintptr(bytes), 0, 0, 0); err != nil {
		return m, err
	}
	if err := d.do(callMemMap, uintptr(m.Address), uintptr(bytes), 0, uintptr(memory), 0); err != nil {
		return m, errors.Join(err, d.do(callMemAddressFree, uintptr(m.Address), uintptr(bytes)))
	}
	if err := d.allow(m, accessReadWrite); err != nil {
		return m, errors.Join(err, d.Unmap(m))
	}
	return m, nil
}

func (d *Driver) allow(m Mapping, flags int32) error {
	a := access{location{locationDevice, int32(m.device)}, flags}
	return d.do(callMemSetAccess, uintptr(m.Address), uintptr(m.bytes), uintptr(unsafe.Pointer(&a)), 1)
}

// ReadOnly makes writing to a mapping an illegal address.
func (d *Driver) ReadOnly(m Mapping) error { return d.allow(m, accessRead) }

// Unmap ends a mapping.
func (d *Driver) Unmap(m Mapping) error {
	err := d.do(callMemUnmap, uintptr(m.Address), uintptr(m.bytes))
	return errors.Join(err, d.do(callMemAddressFree, uintptr(m.Address), uintptr(m.bytes)))
}
