package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Plugins says which backends there are beside those that are built in.
type Plugins struct {
	Path Folders           `yaml:"path"` // where their programs are, named thrum-backend-<name>
	Pins map[string]string `yaml:"pins"` // the checksum, sha256:…, that the program of a backend must have
}

func (p Plugins) check() error {
	switch {
	case slices.Contains(p.Path, ""):
		return errors.New("plugins.path: a folder without a name: write . for this one")
	case len(p.Path) == 0 && len(p.Pins) > 0:
		return errors.New("plugins.pins does nothing without plugins.path")
	}
	return nil
}

// Folders is a list of folders. As a flag it may be given several times, or once with colons.
type Folders []string

// Set adds the folders of text.
func (f *Folders) Set(text string) error {
	if text == "" {
		return fmt.Errorf("%q is no folder", text)
	}
	*f = append(*f, filepath.SplitList(text)...)
	return nil
}

func (f *Folders) String() string { return strings.Join(*f, string(filepath.ListSeparator)) }

// Type names the kind of value in --help.
func (f *Folders) Type() string { return "folder" }
