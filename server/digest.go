package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/server/config"
)

// digestOf returns a digest of everything that a version's predictions depend on: what is in
// its folder, the backend and its options. Only regular files inside the folder are read.
func digestOf(ctx context.Context, dir string, cfg config.Model) (string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	h := sha256.New()
	fmt.Fprintf(h, "%q %q\n", cfg.Backend, cfg.Options)
	err = fs.WalkDir(root.FS(), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		return addFile(ctx, h, root, path)
	})
	return hex.EncodeToString(h.Sum(nil)), err
}

func addFile(ctx context.Context, h hash.Hash, root *os.Root, path string) error {
	info, err := root.Stat(path) // before it is opened: opening a pipe waits for its other end
	if err != nil {
		return err
	}
	if info.IsDir() {
		return nil // a link to a folder; its files count where they are
	}
	if !info.Mode().IsRegular() {
		return backends.Errorf(backends.ErrInvalid, "%s is not a regular file: a version's folder holds only its model", path)
	}
	f, err := root.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	fmt.Fprintf(h, "%q ", path)
	n, err := io.Copy(h, contextReader{ctx, f})
	fmt.Fprintf(h, " %d\n", n)
	return err
}

// contextReader ends with its context, even where the file does not.
type contextReader struct {
	ctx context.Context
	in  io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.in.Read(p)
}
