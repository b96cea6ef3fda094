package input

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/thrumserve/thrum/loadtest/oip"
)

// The first bytes of .npz and .npy files.
const (
	zipMagic   = "PK\x03\x04"
	arrayMagic = "\x93NUMPY"
)

var kinds = map[string]oip.Datatype{
	"b1": oip.Bool, "u1": oip.Uint8, "u2": oip.Uint16, "u4": oip.Uint32, "u8": oip.Uint64,
	"i1": oip.Int8, "i2": oip.Int16, "i4": oip.Int32, "i8": oip.Int64, "f2": oip.FP16, "f4": oip.FP32, "f8": oip.FP64,
}

// addArchive reads the arrays of a .npz.
func (s *Set) addArchive(data []byte) error {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return err
	}
	files, left := map[string][]byte{}, int64(maxBytes)
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		content, err := io.ReadAll(io.LimitReader(r, left+1))
		if err = errors.Join(err, r.Close()); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		if left -= int64(len(content)); left < 0 {
			return fmt.Errorf("its arrays take more than %d bytes: take a part of them", maxBytes)
		}
		files[strings.TrimSuffix(f.Name, ".npy")] = content
	}
	return s.addArrays(files)
}

// addArrays makes a request of each row of the arrays, which are named like inputs.
func (s *Set) addArrays(files map[string][]byte) error {
	if len(files) == 0 {
		return nil
	}
	var arrays []oip.Tensor
	for _, name := range slices.Sorted(maps.Keys(files)) {
		t, err := array(name, files[name])
		if err != nil {
			return fmt.Errorf("array %q: %w", name, err)
		}
		if t.Shape[0] != append(arrays, t)[0].Shape[0] {
			return fmt.Errorf("array %q has %d rows, %q has %d: all need the same number", name, t.Shape[0], arrays[0].Name, arrays[0].Shape[0])
		}
		arrays = append(arrays, t)
	}
	for i := range arrays[0].Shape[0] {
		var r oip.Request
		for _, t := range arrays {
			size := int64(len(t.Data)) / t.Shape[0]
			t.Data = t.Data[i*size : (i+1)*size]
			t.Shape = slices.Concat([]int64{1}, t.Shape[1:])
			r.Inputs = append(r.Inputs, t)
		}
		s.Cases = append(s.Cases, Case{Request: r})
	}
	return nil
}

var arrayHeader = regexp.MustCompile(`^\{'descr': *'([<>|=])(\w+)', *'fortran_order': *(True|False), *'shape': *\(([0-9, ]*)\)`)

// array reads a .npy.
func array(name string, data []byte) (oip.Tensor, error) {
	t := oip.Tensor{Name: name}
	text, data, err := splitArray(data)
	if err != nil {
		return t, err
	}
	h := arrayHeader.FindStringSubmatch(text)
	if h == nil {
		return t, fmt.Errorf("its header is %.100q, an array of numbers is expected", text)
	}
	var ok bool
	if t.Datatype, ok = kinds[h[2]]; !ok || h[1] == ">" {
		return t, fmt.Errorf("its elements are %q, which is none of the protocol's datatypes: store it as numbers, little-endian", h[1]+h[2])
	}
	if h[3] == "True" {
		return t, errors.New("it is stored by columns: store numpy.ascontiguousarray of it")
	}
	for dim := range strings.SplitSeq(h[4], ",") {
		if dim = strings.TrimSpace(dim); dim == "" {
			continue
		}
		n, err := strconv.ParseInt(dim, 10, 64)
		if err != nil {
			return t, err
		}
		t.Shape = append(t.Shape, n)
	}
	if len(t.Shape) == 0 || t.Shape[0] == 0 {
		return t, fmt.Errorf("its shape is %v: it has no rows", t.Shape)
	}
	t.Data = data
	return t, t.Check()
}

// splitArray returns the header's text and the elements.
func splitArray(data []byte) (header string, rest []byte, err error) {
	const fixed = len(arrayMagic) + 2 // and the version
	if len(data) < fixed+4 || string(data[:len(arrayMagic)]) != arrayMagic {
		return "", nil, errors.New("not an array as numpy stores it")
	}
	size, at := uint64(binary.LittleEndian.Uint16(data[fixed:])), fixed+2
	if data[len(arrayMagic)] > 1 {
		size, at = uint64(binary.LittleEndian.Uint32(data[fixed:])), fixed+4
	}
	if size > uint64(len(data)-at) {
		return "", nil, errors.New("cut short in its header")
	}
	return string(data[at : at+int(size)]), data[at+int(size):], nil
}
