package repository

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// listModels returns the names of the model folders in root, ascending. Hidden folders are
// not models.
func listModels(root string) ([]string, error) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if isDir(root, e) && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// listVersions returns the version numbers in a model's folder, ascending: its sub-folders
// whose names are positive decimal integers without a leading zero. Others are ignored.
func listVersions(dir string) ([]int64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var versions []int64
	for _, e := range entries {
		n, err := strconv.ParseInt(e.Name(), 10, 64)
		if err == nil && n > 0 && strconv.FormatInt(n, 10) == e.Name() && isDir(dir, e) {
			versions = append(versions, n)
		}
	}
	slices.Sort(versions)
	return versions, nil
}

// isDir follows a link, so that a repository may be made of links to folders elsewhere, as
// Kubernetes mounts are.
func isDir(parent string, e fs.DirEntry) bool {
	if e.Type()&fs.ModeSymlink == 0 {
		return e.IsDir()
	}
	info, err := os.Stat(filepath.Join(parent, e.Name()))
	return err == nil && info.IsDir()
}

// fingerprint is cheap to take and changes when a file that a version is made of does: it is
// what a poll compares. maxFiles bounds the walk.
type fingerprint [sha256.Size]byte

const maxFiles = 10_000

// takeFingerprint covers names, sizes and modification times of the model's own files and
// of all files below the version's folder.
func takeFingerprint(modelDir string, version int64) (fingerprint, error) {
	h := sha256.New()
	add := func(path string, info fs.FileInfo) {
		h.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(path))))
		h.Write([]byte(path))
		h.Write(binary.LittleEndian.AppendUint64(nil, uint64(info.Size())))
		h.Write(binary.LittleEndian.AppendUint64(nil, uint64(info.ModTime().UnixNano())))
	}
	entries, err := os.ReadDir(modelDir)
	if err != nil {
		return fingerprint{}, err
	}
	for _, e := range entries {
		if info, err := os.Stat(filepath.Join(modelDir, e.Name())); err == nil && info.Mode().IsRegular() {
			add(e.Name(), info)
		}
	}
	dir, err := filepath.EvalSymlinks(filepath.Join(modelDir, strconv.FormatInt(version, 10)))
	if err != nil {
		return fingerprint{}, err
	}
	files := 0
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if files++; files > maxFiles {
			return fmt.Errorf("%s holds more than %d files: a version's folder holds only its model", dir, maxFiles)
		}
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			info, err = e.Info() // a dangling link counts as itself
		}
		if err != nil {
			return err
		}
		if !info.IsDir() {
			add(path, info)
		}
		return nil
	})
	return fingerprint(h.Sum(nil)), err
}
