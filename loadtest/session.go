// Package loadtest puts a model of any Open Inference Protocol server under load: it finds the
// model, makes requests that fit it and attacks as often as asked. What is measured and how is in
// the packages below; this one only wires them.
package loadtest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/thrumserve/thrum/loadtest/attack"
	"github.com/thrumserve/thrum/loadtest/facts"
	"github.com/thrumserve/thrum/loadtest/input"
	"github.com/thrumserve/thrum/loadtest/oip"
	"github.com/thrumserve/thrum/loadtest/result"
	"github.com/thrumserve/thrum/loadtest/schedule"
)

// Options are what to attack with what.
type Options struct {
	URL     string // of the server, such as http://127.0.0.1:8000
	Model   string
	Version string // empty for the server's choice
	Metrics string // where the server says what it did; where empty, the usual places are tried
	Access

	Input     string // generated (if empty), golden:DIR, file:PATH, capture:PATH or a PATH
	Generated input.Generated
	Select    string // which of them, as in input.Set.Select
	Weigh     string // how often each of them, as in input.Set.Weigh

	Binary      bool
	Cache       Cache
	Timeout     time.Duration // of a request; 10 s if 0
	Connections int           // at most; as many as are needed if 0
	Check       float64       // the share of answers that are compared with the offline answer
	Seed        uint64

	// Direct, if not nil, answers instead of the server: a model by itself.
	Direct Direct
}

// Direct is a model that is reached without a server.
type Direct interface {
	Model() oip.Model
	// Target answers the requests, which are those of the attack; answers says whether the bodies
	// of the replies are looked at.
	Target(requests []attack.Request, answers bool) (attack.Target, error)
}

// Cache is what is done about the server's prediction cache.
type Cache string

// The ways.
const (
	Bypass     Cache = "bypass"     // every request reaches the model
	Cold       Cache = "cold"       // the cache is used, and knows nothing at the beginning of each run
	Production Cache = "production" // as it is
)

// Set parses text; it makes a Cache usable as a command-line flag.
func (c *Cache) Set(text string) error {
	switch v := Cache(text); v {
	case Bypass, Cold, Production:
		*c = v
		return nil
	}
	return fmt.Errorf("%q: use bypass, cold or production", text)
}

// String returns the way.
func (c *Cache) String() string { return string(*c) }

// Type names the kind of value in --help.
func (c *Cache) Type() string { return "cache" }

const defaultTimeout = 10 * time.Second

// Session is a model that can be attacked. It attacks once at a time.
type Session struct {
	options  Options
	model    oip.Model
	set      *input.Set
	requests []attack.Request
	pick     func(n uint64) int
	target   attack.Target
	answers  *input.Answers // nil if none are compared
	via      *http.Client   // to ask the server beside the attack
	metrics  string         // empty if there are none
}

// Open finds the model and makes the requests. An error says what is wrong with either.
func Open(ctx context.Context, o Options) (*Session, error) {
	s, err := open(ctx, o)
	return s, o.hidden(err)
}

func open(ctx context.Context, o Options) (*Session, error) {
	o.Cache, o.Timeout = cmp.Or(o.Cache, Bypass), cmp.Or(o.Timeout, defaultTimeout)
	s := &Session{options: o}
	if o.Model == "" {
		return nil, errors.New("no model is named: add --model NAME")
	}
	if !(o.Check >= 0 && o.Check <= 1) {
		return nil, fmt.Errorf("a share of %v of the answers cannot be checked: it is between 0 and 1", o.Check)
	}
	if err := s.find(ctx); err != nil {
		return nil, err
	}
	if err := s.read(); err != nil {
		return nil, err
	}
	if err := s.aim(); err != nil {
		return nil, err
	}
	var err error
	if s.metrics, err = s.findMetrics(ctx); err != nil {
		return nil, err
	}
	return s, s.ask(ctx)
}

// find learns what the model takes.
func (s *Session) find(ctx context.Context) error {
	if s.options.Direct != nil {
		s.model = s.options.Direct.Model()
		return nil
	}
	client, err := oip.NewClient(s.options.URL)
	if err != nil {
		return err
	}
	s.options.URL = client.Address()
	s.via = s.options.Client(s.options.URL)
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	s.model, err = client.Via(s.via).Model(ctx, s.options.Model, s.options.Version)
	return err
}

// read makes the requests.
func (s *Session) read() (err error) {
	o := s.options
	kind, path, named := strings.Cut(o.Input, ":")
	switch {
	case o.Input == "" || o.Input == "generated":
		g := o.Generated
		g.Seed = o.Seed
		s.set, err = input.Generate(s.model, g)
	case named && (kind == "golden" || kind == "file" || kind == "capture"):
		s.set, err = input.Read(filepath.Clean(path), 0)
	case o.Input == "golden":
		return errors.New("golden: say where the golden set is: golden:DIR, the folder of the model or of a version")
	default:
		s.set, err = input.Read(o.Input, 0)
	}
	if err != nil {
		return err
	}
	if kind == "capture" && s.set.Captured == 0 {
		return fmt.Errorf("%s holds no captured requests: read it with file:%s", path, path)
	}
	if o.Select != "" {
		if err := s.set.Select(o.Select); err != nil {
			return err
		}
	}
	if o.Weigh != "" {
		if s.pick, err = s.set.Weigh(o.Weigh, o.Seed); err != nil {
			return err
		}
	}
	if err := s.set.Check(s.model); err != nil {
		return err
	}
	s.requests, err = s.set.Encode(s.model, s.form())
	return err
}

func (s *Session) form() oip.Form {
	return oip.Form{BinaryInputs: s.options.Binary, BinaryOutputs: s.options.Binary}
}

// aim makes the target.
func (s *Session) aim() (err error) {
	if d := s.options.Direct; d != nil {
		s.target, err = d.Target(s.requests, s.options.Check > 0)
		return err
	}
	s.target = s.over(s.options.Cache)
	return nil
}

// over is the server's model, asked in a way of its cache.
func (s *Session) over(c Cache) *attack.HTTP {
	header := http.Header{}
	maps.Copy(header, s.options.Header)
	if c == Bypass {
		header.Set("Cache-Control", "no-store")
	}
	return &attack.HTTP{URL: s.options.URL + oip.ModelPath(s.options.Model, s.options.Version) + "/infer", Header: header, TLS: s.options.TLS}
}

// ask gets the offline answers that the inputs do not bring, one request at a time before the run,
// past the cache: it would know them all in the run. If there are none to get it tries one.
func (s *Session) ask(ctx context.Context) error {
	target := s.target
	if s.options.Direct == nil {
		target = s.over(Bypass)
	}
	conn, err := target.Open(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if s.options.Check == 0 || s.set.Cases[0].Want != nil {
		err = s.try(conn)
	}
	if err != nil || s.options.Check == 0 {
		return err
	}
	s.answers, err = s.set.Ask(ctx, conn, s.requests, s.options.Timeout)
	return err
}

// try sends the first request to see whether it is one that the server takes at all: with more rows than
// it allows, or without its permission, a run would be nothing but errors.
func (s *Session) try(conn attack.Conn) error {
	reply, err := conn.Do(&s.requests[0], time.Now().Add(s.options.Timeout))
	if err != nil {
		return nil // the run will show it
	}
	switch reply.Status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusRequestEntityTooLarge,
		http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return fmt.Errorf("%s: %s, sent alone before the run, is refused: %d %s: %.200s", s.set.Source, s.set.Cases[0].Name, reply.Status, http.StatusText(reply.Status), reply.Body)
	}
	return nil
}

// Rows returns how many rows the requests have at least and at most.
func (s *Session) Rows() (least, most int) {
	least = s.requests[0].Rows
	for _, r := range s.requests {
		least, most = min(least, r.Rows), max(most, r.Rows)
	}
	return least, most
}

// metricsPort is where thrum and Triton have their metrics, beside HTTP on 8000.
const metricsPort = "8002"

// findMetrics returns where the server's metrics are, empty if they are in none of the usual places.
func (s *Session) findMetrics(ctx context.Context) (string, error) {
	if s.options.Direct != nil {
		return "", nil
	}
	if named := s.options.Metrics; named != "" {
		if _, err := facts.Scrape(ctx, s.via, named, s.options.Model); err != nil {
			return "", fmt.Errorf("no metrics: %w: try: curl %s", err, named)
		}
		return named, nil
	}
	places := []string{s.options.URL + "/metrics"}
	if u, err := url.Parse(s.options.URL); err == nil && u.Port() == "8000" {
		places = append(places, "http://"+net.JoinHostPort(u.Hostname(), metricsPort)+"/metrics")
	}
	for _, place := range places {
		if f, err := facts.Scrape(ctx, s.via, place, s.options.Model); err == nil && f != (facts.Facts{}) {
			return place, nil
		}
	}
	return "", nil
}

// Facts returns what the server says of itself; ok is false if it says nothing.
func (s *Session) Facts(ctx context.Context) (f facts.Facts, ok bool) {
	if s.metrics == "" {
		return f, false
	}
	f, err := facts.Scrape(ctx, s.via, s.metrics, s.options.Model)
	return f, err == nil
}

// Inputs says in words what is sent.
func (s *Session) Inputs() string { return s.set.String() }

// Warnings say what of the inputs could not be read.
func (s *Session) Warnings() []string { return s.set.Warnings }

// Replay returns the schedule of the captured requests, speed times as fast as they came.
func (s *Session) Replay(speed float64) (schedule.Schedule, error) {
	offsets, err := s.set.Offsets()
	if err != nil {
		return schedule.Schedule{}, err
	}
	return schedule.Trace(offsets, speed)
}

// Load is one attack: a schedule or a closed loop.
type Load struct {
	Schedule    schedule.Schedule
	Concurrency int
	Duration    time.Duration // of a closed loop
	WarmUp      time.Duration // of a closed loop, before its duration and not counted

	OnWindow func(result.Window) // called after every second; may be nil
	OnStep   func(result.Step)   // called with each step that is over before the end; may be nil
	Stop     func() string       // asked every second; a reason ends the attack; may be nil
}

// Attack attacks once. What was measured until ctx ended is returned, too.
func (s *Session) Attack(ctx context.Context, l Load) (*result.Run, error) {
	if s.options.Cache == Cold {
		if err := s.freshen(); err != nil {
			return nil, err
		}
	}
	before, known := s.Facts(ctx)
	show := l.OnWindow
	if w := l.WarmUpTime(); w > 0 {
		show = func(v result.Window) {
			if v.Begin < w && v.Begin+time.Second >= w { // what the server does from here on belongs to what is counted
				before, known = s.Facts(ctx)
			}
			if l.OnWindow != nil {
				l.OnWindow(v)
			}
		}
	}
	run, err := attack.Run(ctx, attack.Options{
		Target: s.target, Requests: s.requests, Pick: s.pick, Schedule: l.Schedule,
		Concurrency: l.Concurrency, Duration: l.Duration, WarmUp: l.WarmUp,
		Connections: s.options.Connections, Timeout: s.options.Timeout,
		Check: s.check(), OnWindow: show, OnStep: l.OnStep, Stop: l.Stop,
	})
	if err != nil {
		return nil, s.options.hidden(err)
	}
	for outcome, cause := range run.Causes {
		run.Causes[outcome] = s.options.Mask(cause)
	}
	if after, ok := s.Facts(context.WithoutCancel(ctx)); ok && known {
		checked := run.Server.Checked
		run.Server = after.Since(before)
		run.Server.Checked, run.Server.Metrics = checked, true
	}
	asked := s.Asked()
	asked.Profile, asked.Closed, asked.Connections = run.Asked.Profile, run.Asked.Closed, run.Asked.Connections
	asked.Seed = cmp.Or(run.Asked.Seed, s.options.Seed) // of a closed loop or a replay it is that of the inputs
	asked.WarmUp = run.Asked.WarmUp
	run.Asked = asked
	return run, nil
}

// WarmUpTime is how long the warm-up is with which it begins.
func (l Load) WarmUpTime() time.Duration {
	end := l.WarmUp
	for _, s := range l.Schedule.Steps {
		if !s.Warmup {
			break
		}
		end = s.End
	}
	return end
}

func (s *Session) check() attack.Check {
	if s.answers == nil {
		return attack.Check{}
	}
	return attack.Check{Share: s.options.Check, Equal: s.answers.Equal}
}

// Asked is what every attack is asked for; what differs from one to the next is left out.
func (s *Session) Asked() result.Asked {
	a := result.Asked{
		Target: s.options.URL, Model: s.options.Model, Version: s.options.Version,
		Body: "json", Inputs: s.set.String(), Cache: string(s.options.Cache), Timeout: s.options.Timeout,
		Headers: s.options.Access.String(),
	}
	if s.options.Binary {
		a.Body = "binary"
	}
	if s.options.Direct != nil {
		a.Target = "the model by itself"
	}
	if s.options.Cache == Production {
		a.Cache = "as in production"
	}
	return a
}

// fresh names the parameter that a server does not know, and that is part of what it keeps an answer
// by: with a new value of it, nothing is in the cache.
const fresh = "loadtest_run"

func (s *Session) freshen() (err error) {
	value := json.RawMessage(strconv.Quote(strconv.FormatInt(time.Now().UnixNano(), 36)))
	for i := range s.set.Cases {
		c := &s.set.Cases[i]
		if c.Parameters == nil {
			c.Parameters = map[string]json.RawMessage{}
		}
		c.Parameters[fresh] = value
	}
	s.requests, err = s.set.Encode(s.model, s.form())
	return err
}
