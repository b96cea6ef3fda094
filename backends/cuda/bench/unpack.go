//go:build cuda

package main

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// program returns the path of a program that is carried, plainly or compressed, for which it is unpacked once.
func (l *lab) program(name string) (string, error) {
	plain := filepath.Join(l.folder, name)
	if _, err := os.Stat(plain); err == nil {
		return plain, nil
	}
	unpacked := filepath.Join(l.models, "programs", filepath.Base(name))
	if _, err := os.Stat(unpacked); err == nil {
		return unpacked, nil
	}
	packed, err := os.Open(plain + ".gz")
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("there is no %s in %s", name, l.folder)
	}
	if err != nil {
		return "", err
	}
	defer packed.Close()
	z, err := gzip.NewReader(packed)
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(z)
	if err := errors.Join(err, os.MkdirAll(filepath.Dir(unpacked), 0o700)); err != nil {
		return "", err
	}
	return unpacked, os.WriteFile(unpacked, data, 0o700)
}
