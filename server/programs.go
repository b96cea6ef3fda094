package server

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/plugins"
	"github.com/thrumserve/thrum/plugins/discover"
)

// programs knows the program behind each backend.
type programs struct {
	builtin map[string]plugins.Command
	path    []string          // folders of external ones
	pins    map[string]string // their checksums, by backend
}

// program is what runs a backend.
type program struct {
	command plugins.Command
	options plugins.Options
}

// check reports what can be known to be wrong before any backend is wanted.
func (p programs) check() error {
	for name, checksum := range p.pins {
		if err := plugins.CheckChecksum(checksum); err != nil {
			return fmt.Errorf("plugins.pins: %s: %w", name, err)
		}
		if _, ok := p.builtin[name]; ok {
			return fmt.Errorf("plugins.pins: %s does nothing: that backend is built in", name)
		}
	}
	_, err := p.names()
	return err
}

// find returns the program of a backend. An external one is looked for anew each time, so that
// one may be added while the server runs. It is not trusted as a built-in one is: it has to show
// a certificate and, if one is pinned, the right checksum.
func (p programs) find(backend string) (program, error) {
	if command, ok := p.builtin[backend]; ok {
		return program{command, plugins.Options{Name: backend}}, nil
	}
	found, err := discover.Lookup(p.path, backend)
	switch {
	case errors.Is(err, backends.ErrNotFound):
		return program{}, p.unknown(backend)
	case err != nil:
		return program{}, backends.Errorf(backends.ErrInvalid, "model.yaml: backend %q: %w; see `%s`", backend, err, p.listing())
	}
	options := plugins.Options{Name: backend, AutoMTLS: true, Checksum: p.pins[backend]}
	return program{plugins.Command{Path: found.Path}, options}, nil
}

func (p programs) unknown(backend string) error {
	names, err := p.names()
	if err != nil {
		return err
	}
	where := "no plugin path to look further"
	if len(p.path) > 0 {
		where = fmt.Sprintf("no %s%s in %s", discover.Prefix, backend, strings.Join(p.path, " or "))
	}
	return backends.Errorf(backends.ErrInvalid, "model.yaml: unknown backend %q: this server has %s, and %s; see `%s`",
		backend, strings.Join(names, ", "), where, p.listing())
}

// names returns the backends that there are: those built in and then the external ones.
func (p programs) names() ([]string, error) {
	names := slices.Sorted(maps.Keys(p.builtin))
	external, err := discover.Names(p.path)
	for _, name := range external {
		if _, ok := p.builtin[name]; !ok {
			names = append(names, name)
		}
	}
	return names, err
}

// explain adds to the error of an external backend that does not start where to look.
func (p programs) explain(backend string, err error) error {
	if _, builtin := p.builtin[backend]; builtin || !errors.Is(err, backends.ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w; see `%s`", err, p.listing())
}

// listing is the command that shows what is on the plugin path.
func (p programs) listing() string {
	command := "thrum plugin list"
	for _, folder := range p.path {
		command += " --plugin-path " + folder
	}
	if len(p.path) == 0 {
		command += " --plugin-path DIR"
	}
	return command
}
