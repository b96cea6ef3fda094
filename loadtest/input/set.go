// Package input is where the requests of a load test come from: files, a model's golden set, what
// a server has captured, or nothing but the model's signature. It makes them ready to be sent,
// chooses among them, and knows the answers that are right.
package input

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/thrumserve/thrum/loadtest/attack"
	"github.com/thrumserve/thrum/loadtest/oip"
)

// Set is the requests of a load test.
type Set struct {
	Source    string // where they come from
	Cases     []Case // at least one
	Tolerance oip.Tolerance
	Captured  float64  // the share of its requests that the server kept; 0 if they were not captured
	Warnings  []string // what could not be read
}

// Case is a request, and what is known of it.
type Case struct {
	Name string
	oip.Request
	Want    []oip.Tensor  // outputs that are right; nil if they are not known
	Arrived time.Duration // after the first one; of a captured one
}

// tolerance is that of sets that bring none: batches of other sizes sum in another order.
var tolerance = oip.Tolerance{Abs: 1e-4, Rel: 1e-3}

// String returns the source, how many requests there are, their sizes, and of captured ones what
// share of all they are.
func (s *Set) String() string {
	text := s.Source + ": " + s.sizes()
	if s.Captured > 0 && s.Captured < 1 {
		text += fmt.Sprintf(", captured at a rate of %v", s.Captured)
	}
	return text
}

func (s *Set) sizes() string {
	least, most := s.Cases[0].Bytes(), s.Cases[0].Bytes()
	for _, c := range s.Cases {
		least, most = min(least, c.Bytes()), max(most, c.Bytes())
	}
	if least == most {
		return fmt.Sprintf("%d requests of %d bytes", len(s.Cases), most)
	}
	return fmt.Sprintf("%d requests of %d to %d bytes", len(s.Cases), least, most)
}

// Check reports the first request that does not fit what the server says of the model.
func (s *Set) Check(m oip.Model) error {
	for _, c := range s.Cases {
		if err := m.Check(c.Request); err != nil {
			return fmt.Errorf("%s: %s: %w", s.Source, c.Name, err)
		}
	}
	return nil
}

// Encode returns the requests ready to be sent, in the order of the cases.
func (s *Set) Encode(m oip.Model, f oip.Form) ([]attack.Request, error) {
	all := make([]attack.Request, len(s.Cases))
	for i, c := range s.Cases {
		body, head, err := oip.EncodeRequest(c.Request, f)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", s.Source, c.Name, err)
		}
		all[i] = attack.Request{Body: body, Head: head, Rows: m.Rows(c.Request)}
	}
	return all, nil
}

// Offsets returns when requests that were captured came, from the first one on.
func (s *Set) Offsets() ([]time.Duration, error) {
	if s.Captured == 0 {
		return nil, fmt.Errorf("%s has no arrival times to replay: take requests that a server has captured, or another schedule", s.Source)
	}
	all := make([]time.Duration, len(s.Cases))
	for i, c := range s.Cases {
		all[i] = c.Arrived - s.Cases[0].Arrived
	}
	return all, nil
}

// finish completes a set that has been read: names for those without, and at least one of them.
func (s *Set) finish() (*Set, error) {
	if len(s.Cases) == 0 {
		return nil, errors.Join(fmt.Errorf("%s: there is no request in it", s.Source), warnings(s.Warnings))
	}
	s.Tolerance = cmp.Or(s.Tolerance, tolerance)
	for i := range s.Cases {
		s.Cases[i].Name = cmp.Or(s.Cases[i].Name, fmt.Sprintf("request %d", i+1))
	}
	if s.Captured > 0 {
		slices.SortStableFunc(s.Cases, func(a, b Case) int { return cmp.Compare(a.Arrived, b.Arrived) })
		first := s.Cases[0].Arrived
		for i := range s.Cases {
			s.Cases[i].Arrived -= first
		}
	}
	return s, nil
}

func warnings(texts []string) error {
	var all []error
	for _, t := range texts {
		all = append(all, errors.New(t))
	}
	return errors.Join(all...)
}
