package input

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/thrumserve/thrum/loadtest/attack"
	"github.com/thrumserve/thrum/loadtest/oip"
)

// Answers are the right answers to the requests of a set. They may be compared with concurrently.
type Answers struct {
	tolerance oip.Tolerance
	all       []answer
}

type answer struct {
	outputs []oip.Tensor
	body    []byte // as it came, for the quickest comparison; nil if the outputs came with the request
}

// Ask gets the answers of which the set does not bring the outputs: each request is sent once, while
// no other is under way. requests are those that Encode returned. An answer other than a 200, and
// one that cannot be read, is an error.
func (s *Set) Ask(ctx context.Context, conn attack.Conn, requests []attack.Request, timeout time.Duration) (*Answers, error) {
	a := &Answers{tolerance: s.Tolerance, all: make([]answer, len(s.Cases))}
	for i, c := range s.Cases {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if c.Want != nil {
			a.all[i].outputs = c.Want
			continue
		}
		reply, err := conn.Do(&requests[i], time.Now().Add(timeout))
		if err != nil {
			return nil, fmt.Errorf("%s: %s, sent alone before the run: %w", s.Source, c.Name, err)
		}
		if a.all[i], err = keep(reply); err != nil {
			return nil, fmt.Errorf("%s: %s, sent alone before the run: %w", s.Source, c.Name, err)
		}
	}
	return a, nil
}

func keep(r attack.Reply) (answer, error) {
	r.Body = bytes.Clone(r.Body)
	outputs, err := decode(r)
	return answer{outputs, r.Body}, err
}

func decode(r attack.Reply) ([]oip.Tensor, error) {
	if r.Status != http.StatusOK {
		return nil, fmt.Errorf("the answer is %d %s: %.200s", r.Status, http.StatusText(r.Status), r.Body)
	}
	response, err := oip.DecodeResponse(r.Body, r.Head)
	if err != nil {
		return nil, fmt.Errorf("the answer cannot be read: %w", err)
	}
	return response.Outputs, nil
}

// Equal reports how the reply to request i differs from the right answer.
func (a *Answers) Equal(i int, r attack.Reply) error {
	want := a.all[i]
	if want.body != nil && r.Status == http.StatusOK && bytes.Equal(r.Body, want.body) {
		return nil
	}
	outputs, err := decode(r)
	if err != nil {
		return err
	}
	return a.tolerance.Compare(outputs, want.outputs)
}
