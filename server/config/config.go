// Package config reads thrum's two kinds of YAML file, the server's and a model's. It is the
// only place where configuration is read; a key that would do nothing is an error.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"
)

// Server is the server's configuration. Every field has a default (see Default) and a flag
// of `thrum serve`.
type Server struct {
	Models string `yaml:"models"` // the model repository's folder
	HTTP   string `yaml:"http"`   // address of the protocol's REST front
	Admin  string `yaml:"admin"`  // address of metrics, profiles and health

	Control      Control  `yaml:"control"`
	PollInterval Duration `yaml:"poll_interval"` // with control poll; default 5s
	LoadTimeout  Duration `yaml:"load_timeout"`  // for one version, warm-up included
	Deadline     Duration `yaml:"deadline"`      // of a request that brings none, where its model sets none

	CaptureDir string `yaml:"capture_dir"` // where samples of requests go; empty where none may be kept
	CPULevel   string `yaml:"cpu_level"`   // instruction set of the backend cpu; empty is the best there is

	Plugins  Plugins  `yaml:"plugins"` // external backends
	Limits   Limits   `yaml:"limits"`
	Shutdown Shutdown `yaml:"shutdown"`
}

// Limits bound what clients can make the server hold.
type Limits struct {
	MaxBody        Bytes    `yaml:"max_body"` // of a request, after decompression
	MaxConnections int      `yaml:"max_connections"`
	ReadTimeout    Duration `yaml:"read_timeout"` // for a whole request to arrive
	WriteTimeout   Duration `yaml:"write_timeout"`
	IdleTimeout    Duration `yaml:"idle_timeout"` // of a kept-alive connection
}

// Shutdown says how the server ends: not ready at once, still serving for Delay so that load
// balancers notice, then at most Timeout for what is in flight.
type Shutdown struct {
	Delay   Duration `yaml:"delay"`
	Timeout Duration `yaml:"timeout"`
}

// Control says when the server looks at the model repository.
type Control string

// The control modes.
const (
	ControlPoll     Control = "poll"     // at start and every poll_interval
	ControlExplicit Control = "explicit" // only what the repository API loads
	ControlNone     Control = "none"     // at start only
)

// Set parses text; it makes Control usable as a command-line flag.
func (c *Control) Set(text string) error {
	switch Control(text) {
	case ControlPoll, ControlExplicit, ControlNone:
		*c = Control(text)
		return nil
	}
	return fmt.Errorf("control %q: use poll, explicit or none", text)
}

func (c *Control) String() string { return string(*c) }

// Type names the kind of value in --help.
func (c *Control) Type() string { return "mode" }

// Default is a safe configuration for everything but Models.
func Default() Server {
	return Server{
		HTTP:        ":8000",
		Admin:       ":8002",
		Control:     ControlPoll,
		LoadTimeout: Duration(5 * time.Minute),
		Deadline:    Duration(10 * time.Second),
		Limits: Limits{
			MaxBody:        64 << 20,
			MaxConnections: 4096,
			ReadTimeout:    Duration(30 * time.Second),
			WriteTimeout:   Duration(30 * time.Second),
			IdleTimeout:    Duration(2 * time.Minute),
		},
		Shutdown: Shutdown{Timeout: Duration(30 * time.Second)},
	}
}

// ReadServer lays the file over s.
func ReadServer(path string, s *Server) error { return readStrict(path, s) }

// Validate reports the first setting that cannot work.
func (s Server) Validate() error {
	switch {
	case s.Models == "":
		return errors.New("no model repository: say --models DIR, or models: DIR in the configuration file")
	case s.HTTP == "" || s.Admin == "":
		return errors.New("http and admin need an address, such as 127.0.0.1:8000")
	case s.Control != ControlPoll && s.PollInterval != 0:
		return fmt.Errorf("poll_interval does nothing with control %s: leave it out", s.Control)
	case s.PollInterval != 0 && s.PollInterval < Duration(10*time.Millisecond):
		return fmt.Errorf("poll_interval %v: at least 10ms", s.PollInterval)
	case s.LoadTimeout <= 0 || s.Deadline <= 0 || s.Shutdown.Timeout <= 0:
		return errors.New("load_timeout, deadline and shutdown.timeout must be above zero")
	case s.Limits.ReadTimeout <= 0 || s.Limits.WriteTimeout <= 0 || s.Limits.IdleTimeout <= 0:
		return errors.New("limits.read_timeout, write_timeout and idle_timeout must be above zero")
	case s.CaptureDir != "" && (within(s.CaptureDir, s.Models) || within(s.Models, s.CaptureDir)):
		return fmt.Errorf("capture_dir %s and models %s: keep them apart, or captured requests look like changed models", s.CaptureDir, s.Models)
	case s.Limits.MaxBody <= 0 || s.Limits.MaxConnections <= 0:
		return errors.New("limits.max_body and limits.max_connections must be above zero")
	}
	if err := s.Plugins.check(); err != nil {
		return err
	}
	return s.Control.Set(string(s.Control))
}

// Poll returns how often to look for changes in the repository, 0 for never.
func (s Server) Poll() time.Duration {
	if s.Control != ControlPoll {
		return 0
	}
	return time.Duration(cmp.Or(s.PollInterval, Duration(5*time.Second)))
}

// Model is a model's model.yaml. The zero value, where there is no file, means the defaults.
type Model struct {
	Backend   string            `yaml:"backend"`   // which plugin runs it; default cpu
	Versions  Versions          `yaml:"versions"`  // which versions to serve; default latest
	Deadline  Duration          `yaml:"deadline"`  // of a request that brings none; default the server's
	Instances int               `yaml:"instances"` // plugin processes; default 1
	Limits    PluginLimits      `yaml:"limits"`    // of each of them
	Batching  Batching          `yaml:"batching"`
	Cache     *Cache            `yaml:"cache"`   // absent = no cache
	Capture   *Capture          `yaml:"capture"` // absent = none
	Golden    *Golden           `yaml:"golden"`  // absent = what the model's precision asks for
	Options   map[string]string `yaml:"options"` // the backend's own settings
}

// Batching bounds a model's queue and its batches; 0 means the default.
type Batching struct {
	MaxRows      int `yaml:"max_rows"`       // in one batch; default 64; refused for a model without a batch dimension
	MaxQueueRows int `yaml:"max_queue_rows"` // waiting; default 1024, or max_rows if that is more
	Inflight     int `yaml:"inflight"`       // batches executing or being laid out at once; default instances + 1
}

// Bounds returns what m says of batching, with every 0 replaced.
func (m Model) Bounds() Batching {
	b := m.Batching
	b.MaxRows = cmp.Or(b.MaxRows, 64)
	b.MaxQueueRows = cmp.Or(b.MaxQueueRows, max(1024, b.MaxRows))
	b.Inflight = cmp.Or(b.Inflight, max(m.Instances, 1)+1)
	return b
}

// PluginLimits bound what each plugin process of a model may take of the machine; 0 and an
// empty set mean no bound.
type PluginLimits struct {
	Memory  Bytes `yaml:"memory"`  // private; an allocation beyond it fails
	Threads int   `yaml:"threads"` // that compute at once
	Nice    int   `yaml:"nice"`    // the scheduling priority, up to 19, the least urgent
	CPUs    CPUs  `yaml:"cpus"`    // the processors that it may run on
}

// Cache switches a model's prediction cache on.
type Cache struct {
	MaxBytes Bytes    `yaml:"max_bytes"` // default 64MiB
	TTL      Duration `yaml:"ttl"`       // default 10m
}

// ModelFile is the name of a model's configuration file in its folder.
const ModelFile = "model.yaml"

// ReadModel reads the model.yaml of a model's folder, or returns the defaults if it has none.
func ReadModel(dir string) (Model, error) {
	var m Model
	path := filepath.Join(dir, ModelFile)
	if err := readStrict(path, &m); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Model{}, err
	}
	if err := m.check(); err != nil {
		return Model{}, fmt.Errorf("%s: %w", path, err)
	}
	m.setDefaults()
	return m, nil
}

func (m Model) check() error {
	if b := m.Batching; b.MaxRows < 0 || b.MaxQueueRows < 0 || b.Inflight < 0 {
		return errors.New("batching: no value may be negative")
	}
	if m.Instances < 0 || m.Instances > maxInstances {
		return fmt.Errorf("instances %d: use 1 to %d, each is a process with the whole model", m.Instances, maxInstances)
	}
	if err := cmp.Or(m.Capture.check(), m.Golden.check()); err != nil {
		return err
	}
	if l := m.Limits; l.Threads < 0 || l.Nice < -20 || l.Nice > 19 {
		return fmt.Errorf("limits: threads %d, nice %d: threads may not be negative, nice is from -20 to 19", l.Threads, l.Nice)
	}
	if b := m.Bounds(); b.MaxQueueRows < b.MaxRows {
		return fmt.Errorf("batching.max_queue_rows %d is below batching.max_rows %d: a full batch could never wait",
			b.MaxQueueRows, b.MaxRows)
	}
	return nil
}

// maxInstances is more than a machine has use for: what is beyond it is a slip.
const maxInstances = 256

func (m *Model) setDefaults() {
	m.Backend = cmp.Or(m.Backend, "cpu")
	m.Instances = cmp.Or(m.Instances, 1)
	if m.Versions.isZero() {
		m.Versions.Latest = 1
	}
	if m.Capture != nil {
		m.Capture.MaxBytes = cmp.Or(m.Capture.MaxBytes, 64<<20)
	}
	if m.Cache != nil {
		m.Cache.MaxBytes = cmp.Or(m.Cache.MaxBytes, 64<<20)
		m.Cache.TTL = cmp.Or(m.Cache.TTL, Duration(10*time.Minute))
	}
}
