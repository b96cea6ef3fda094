package config

import (
	"errors"
	"fmt"
	"path/filepath"
)

// Capture switches the capture of a model's requests on.
type Capture struct {
	Rate     float64  `yaml:"rate"`      // the share of the requests that is kept, above 0 and up to 1
	Path     string   `yaml:"path"`      // folder below the server's capture_dir; default the model's name
	MaxBytes Bytes    `yaml:"max_bytes"` // of that folder; default 64MiB
	Mask     []string `yaml:"mask"`      // inputs, and parameters.NAME, that are not to be kept
}

// leastCapture is what a folder of captures needs to be of use.
const leastCapture = 64 << 10

func (c *Capture) check() error {
	switch {
	case c == nil:
		return nil
	case !(c.Rate > 0 && c.Rate <= 1):
		return fmt.Errorf("capture.rate %v: use a share above 0 and up to 1, or leave capture out", c.Rate)
	case c.Path != "" && !filepath.IsLocal(c.Path):
		return fmt.Errorf("capture.path %q: it must stay below the server's capture_dir", c.Path)
	case c.MaxBytes != 0 && c.MaxBytes < leastCapture:
		return fmt.Errorf("capture.max_bytes %v: at least %v", c.MaxBytes, Bytes(leastCapture))
	}
	return nil
}

// within reports whether a folder is another one or below it.
func within(dir, other string) bool {
	a, err1 := filepath.Abs(dir)
	b, err2 := filepath.Abs(other)
	below, err3 := filepath.Rel(b, a)
	return err1 == nil && err2 == nil && err3 == nil && filepath.IsLocal(below)
}

// Folder returns where the captures of a model go.
func (c *Capture) Folder(dir, model string) (string, error) {
	if dir == "" {
		return "", errors.New("capture: this server keeps no requests: start it with --capture-dir DIR, or leave capture out")
	}
	if c.Path != "" {
		model = c.Path
	}
	return filepath.Join(dir, model), nil
}
