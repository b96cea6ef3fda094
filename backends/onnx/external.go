package onnx

import (
	"io"
	"os"
	"strconv"

	"github.com/thrumserve/thrum/backends"
)

// externalFiles reads tensors that a model keeps in files beside it. All of them are opened
// through an os.Root, so neither "..", an absolute path nor a link leads out of the model's
// folder. A hard link cannot be told from the file itself: whoever may create one in the
// folder may as well copy the file there, so it is read.
type externalFiles struct {
	root *os.Root
	open map[string]*externalFile
	left int64 // bytes that may still be read
}

// externalFile is one of them. Tensors that name the same bytes share them, and those that
// overlap otherwise are refused, so that a small file cannot become a large model.
type externalFile struct {
	*os.File
	size  int64
	left  int64
	parts map[span][]byte
}

type span struct{ offset, length int64 }

const (
	maxExternalFiles = 4096
	maxExternalBytes = 64 << 30
)

func newExternalFiles(root *os.Root) *externalFiles {
	return &externalFiles{root: root, open: map[string]*externalFile{}, left: maxExternalBytes}
}

// close closes the files; what was read from them stays.
func (e *externalFiles) close() {
	for _, f := range e.open {
		f.Close()
	}
}

// read returns the size bytes that entries describe.
func (e *externalFiles) read(entries []entryProto, size int64) ([]byte, error) {
	location, at, err := parseEntries(entries, size)
	if err != nil {
		return nil, err
	}
	if at.length != size {
		return nil, backends.Errorf(backends.ErrInvalid, "external data of %d bytes, the shape needs %d", at.length, size)
	}
	f, err := e.file(location)
	if err != nil {
		return nil, backends.Errorf(backends.ErrInvalid, "external data: %w", err)
	}
	if data, ok := f.parts[at]; ok {
		return data, nil
	}
	if size > e.left {
		return nil, backends.Errorf(backends.ErrInvalid, "external data of all tensors is more than %d bytes", int64(maxExternalBytes))
	}
	e.left -= size
	data, err := f.read(at)
	if err != nil {
		return nil, backends.Errorf(backends.ErrInvalid, "external data in %q: %w", location, err)
	}
	return data, nil
}

// read allocates nothing before the file is known to hold the bytes.
func (f *externalFile) read(at span) ([]byte, error) {
	if at.offset > f.size || at.length > f.size-at.offset {
		return nil, backends.Errorf(backends.ErrInvalid, "%d bytes at offset %d of a file of %d bytes", at.length, at.offset, f.size)
	}
	if at.length > f.left {
		return nil, backends.Errorf(backends.ErrInvalid, "tensors overlap")
	}
	f.left -= at.length
	data := make([]byte, at.length)
	if _, err := io.ReadFull(io.NewSectionReader(f, at.offset, at.length), data); err != nil {
		return nil, err
	}
	f.parts[at] = data
	return data, nil
}

func parseEntries(entries []entryProto, size int64) (location string, at span, err error) {
	at.length = size
	for _, e := range entries {
		switch e.key {
		case "location":
			location = e.value
		case "offset":
			at.offset, err = strconv.ParseInt(e.value, 10, 64)
		case "length":
			at.length, err = strconv.ParseInt(e.value, 10, 64)
		case "checksum", "basepath":
		default:
			err = strconv.ErrSyntax
		}
		if err != nil || at.offset < 0 || at.length < 0 {
			return "", span{}, backends.Errorf(backends.ErrInvalid, "external data: %s %q cannot be used", e.key, e.value)
		}
	}
	if location == "" {
		return "", span{}, backends.Errorf(backends.ErrInvalid, "external data has no location")
	}
	return location, at, nil
}

// file opens a regular file in the model's folder, once.
func (e *externalFiles) file(location string) (*externalFile, error) {
	if f, ok := e.open[location]; ok {
		return f, nil
	}
	if len(e.open) >= maxExternalFiles {
		return nil, backends.Errorf(backends.ErrInvalid, "more than %d files", maxExternalFiles)
	}
	f, size, err := openRegular(e.root, location)
	if err != nil {
		return nil, err
	}
	e.open[location] = &externalFile{File: f, size: size, left: size, parts: map[span][]byte{}}
	return e.open[location], nil
}

// openRegular opens a file for reading and returns its size. It looks before it opens, since
// opening a pipe waits and opening a device may do anything, and once more after, in case it
// was exchanged.
func openRegular(root *os.Root, name string) (*os.File, int64, error) {
	before, err := root.Stat(name)
	if err != nil {
		return nil, 0, err
	}
	if !before.Mode().IsRegular() {
		return nil, 0, backends.Errorf(backends.ErrInvalid, "%q is not a regular file", name)
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, 0, err
	}
	after, err := f.Stat()
	if err != nil || !os.SameFile(before, after) {
		f.Close()
		return nil, 0, backends.Errorf(backends.ErrInvalid, "%q changed while it was opened", name)
	}
	return f, after.Size(), nil
}
