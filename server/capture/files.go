package capture

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// suffix is that of the files, and of no other file that is ever removed.
const suffix = ".capture"

// errLarge says that a record fits no file.
var errLarge = errors.New("larger than a file may be")

// files is a ring of files in a folder. Each takes up to half of maxBytes; before another begins,
// the oldest ones make room for it. Files that some server still writes, which are locked, stay,
// and count as full.
type files struct {
	folder   string
	name     string // of each, before its number
	head     []byte // at the beginning of each
	maxBytes int64

	count int
	file  *os.File
	size  int64
}

func fileName(version string, began time.Time) string {
	return fmt.Sprintf("%s-%s", version, began.UTC().Format("20060102T150405.000000000"))
}

// largest returns the size of the largest record that fits.
func (f *files) largest() int64 { return f.maxBytes/2 - int64(len(f.head)) }

func (f *files) append(record []byte) error {
	if int64(len(record)) > f.largest() {
		return errLarge
	}
	if f.size+int64(len(record)) > f.maxBytes/2 {
		if err := f.next(); err != nil {
			return err
		}
	}
	return f.write(record)
}

// write leaves no part of a record behind.
func (f *files) write(record []byte) error {
	n, err := f.file.Write(record)
	if err != nil && n > 0 {
		return errors.Join(err, f.file.Truncate(f.size))
	}
	f.size += int64(n)
	return err
}

// next closes the file and begins another.
func (f *files) next() error {
	if err := f.close(); err != nil {
		return err
	}
	if err := os.MkdirAll(f.folder, 0o700); err != nil {
		return err
	}
	if err := f.makeRoom(); err != nil {
		return err
	}
	f.count++
	path := filepath.Join(f.folder, fmt.Sprintf("%s-%06d%s", f.name, f.count, suffix))
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := lock(file); err != nil {
		return errors.Join(err, file.Close())
	}
	f.file, f.size = file, 0
	return f.write(f.head)
}

func (f *files) close() error {
	if f.file == nil {
		return nil
	}
	file := f.file
	f.file = nil
	return file.Close()
}

// makeRoom removes the oldest files until another fits beside the rest.
func (f *files) makeRoom() error {
	olds, err := f.list()
	if err != nil {
		return err
	}
	used := int64(0)
	for _, o := range olds {
		used += o.size
	}
	for _, o := range olds {
		if used <= f.maxBytes-f.maxBytes/2 {
			return nil
		}
		if o.busy {
			continue
		}
		if err := os.Remove(o.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		used -= o.size
	}
	return nil
}

type old struct {
	path    string
	changed time.Time
	size    int64 // that it has, or may come to have
	busy    bool  // somebody writes it
}

// list returns the files that there are, the oldest first.
func (f *files) list() ([]old, error) {
	entries, err := os.ReadDir(f.folder)
	if err != nil {
		return nil, err
	}
	var all []old
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || filepath.Ext(e.Name()) != suffix {
			continue // not ours, or removed meanwhile
		}
		path := filepath.Join(f.folder, e.Name())
		o := old{path: path, changed: info.ModTime(), size: info.Size(), busy: busy(path)}
		if o.busy {
			o.size = f.maxBytes / 2
		}
		all = append(all, o)
	}
	slices.SortFunc(all, func(a, b old) int {
		return cmp.Or(a.changed.Compare(b.changed), cmp.Compare(a.path, b.path))
	})
	return all, nil
}

// lock waits for no longer than somebody asks whether the file is busy.
func lock(file *os.File) error { return syscall.Flock(int(file.Fd()), syscall.LOCK_EX) }

func busy(path string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	return syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil
}
