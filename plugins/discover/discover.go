// Package discover finds the backends that are not built in: programs named
// thrum-backend-<name> in the folders of a plugin path. Finding executes nothing; Probe starts
// one for a moment and asks it what it is.
package discover

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/plugins"
)

// Prefix is what the names of all external backends' programs begin with.
const Prefix = "thrum-backend-"

// Candidate is a program on a plugin path.
type Candidate struct {
	Name     string // of the backend: the program's name without Prefix
	Path     string // of the program, absolute
	Checksum string // of its file, in the form of plugins.Options.Checksum
	Refused  error  // why it must not be started; nil if it may be
}

// Find lists the programs on a plugin path in its order, and by name within a folder. What
// cannot be executed is no program. One is refused when anybody may replace or change it, and
// when an earlier one has its name. An error is a folder that cannot be read.
func Find(folders []string) ([]Candidate, error) {
	found, err := list(folders)
	if err != nil {
		return nil, err
	}
	for i := range found {
		sum, err := plugins.Checksum(found[i].Path)
		if found[i].Refused == nil {
			found[i].Refused = err
		}
		found[i].Checksum = sum
	}
	return found, nil
}

// Lookup returns the program of a backend, without its checksum, if it may be started. Where
// the path has none the error is an ErrNotFound.
func Lookup(folders []string, name string) (Candidate, error) {
	found, err := list(folders)
	if err != nil {
		return Candidate{}, err
	}
	for _, c := range found {
		if c.Name == name {
			return c, c.Refused
		}
	}
	return Candidate{}, backends.Errorf(backends.ErrNotFound, "no %s%s in %s", Prefix, name, strings.Join(folders, ", "))
}

// Names returns the backends of a plugin path that may be started, in its order.
func Names(folders []string) ([]string, error) {
	found, err := list(folders)
	var names []string
	for _, c := range found {
		if c.Refused == nil {
			names = append(names, c.Name)
		}
	}
	return names, err
}

func list(folders []string) ([]Candidate, error) {
	var all []Candidate
	first := map[string]string{} // path by name
	for _, folder := range folders {
		found, err := listFolder(folder)
		if err != nil {
			return nil, fmt.Errorf("plugin path: %w", err)
		}
		for _, c := range found {
			if earlier, ok := first[c.Name]; ok {
				c.Refused = backends.Errorf(backends.ErrInvalid, "%s comes first on the plugin path: rename or remove one of them", earlier)
			} else {
				first[c.Name] = c.Path
			}
			all = append(all, c)
		}
	}
	return all, nil
}

func listFolder(folder string) ([]Candidate, error) {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var found []Candidate
	for _, e := range entries {
		name, ok := strings.CutPrefix(e.Name(), Prefix)
		path := filepath.Join(folder, e.Name())
		if ok && executable(path) {
			found = append(found, Candidate{Name: name, Path: path, Refused: check(name, path)})
		}
	}
	return found, nil
}

// executable says whether a path is a program. A link that leads nowhere is one that is broken.
func executable(path string) bool {
	info, err := os.Stat(path)
	return err != nil || info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

var names = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

func check(name, path string) error {
	if !names.MatchString(name) {
		return backends.Errorf(backends.ErrInvalid, "%q is no name for a backend: use letters, digits, and . _ - between them", name)
	}
	if err := checkWriters(path); err != nil {
		return backends.Errorf(backends.ErrInvalid, "%w", err)
	}
	return nil
}

// checkWriters refuses a program that anybody may change, or put another in the place of, where
// it stands on the path and where links lead from there.
func checkWriters(path string) error {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	for _, p := range []string{filepath.Dir(path), target, filepath.Dir(target)} {
		info, err := os.Stat(p)
		if err != nil {
			return err
		}
		if info.Mode()&0o002 != 0 {
			return fmt.Errorf("anybody may write to %s: chmod o-w %s", p, p)
		}
	}
	return nil
}
