package result

import "time"

// Intended returns the latency of requests with outcome o from their intended start, nil if there
// were none: a nil histogram is empty.
func (s Step) Intended(o Outcome) *Histogram {
	if l := s.Outcomes[o]; l != nil {
		return l.Intended
	}
	return nil
}

// Sent is as Intended, from the actual send.
func (s Step) Sent(o Outcome) *Histogram {
	if l := s.Outcomes[o]; l != nil {
		return l.Sent
	}
	return nil
}

// Count is how many requests had the outcome o.
func (s Step) Count(o Outcome) uint64 { return s.Intended(o).Count() }

// Total is how many requests were sent, whatever became of them.
func (s Step) Total() uint64 {
	var n uint64
	for o := range s.Outcomes {
		n += s.Count(o)
	}
	return n
}

// Achieved is how many OK answers per second came while the step lasted. A server that cannot keep
// up answers most of what is meant to start in a step after it.
func (s Step) Achieved() float64 { return rate(s.Arrived, s.Duration) }

// Goodput is how many requests per second were answered OK within limit from their intended start.
func (s Step) Goodput(limit time.Duration) float64 {
	return rate(s.Intended(OK).Within(limit), s.Duration)
}

// ErrorShare is the share of requests, from 0 to 1, that were not answered OK.
func (s Step) ErrorShare() float64 { return share(s.Total()-s.Count(OK), s.Total()) }

// Total returns all steps as one. Its rate is the mean that was asked for.
func (r *Run) Total() Step {
	total := Step{Name: "all"}
	var starts float64
	for _, s := range r.Steps {
		total.Add(s)
		starts += s.Rate * s.Duration.Seconds()
	}
	if total.Duration > 0 {
		total.Rate = starts / total.Duration.Seconds()
	}
	return total
}

// Add counts what o has counted too, as if the step had gone on for as long as o took.
func (s *Step) Add(o Step) {
	if s.Outcomes == nil {
		s.Outcomes = map[Outcome]*Latency{}
	}
	s.Duration += o.Duration
	s.Rows += o.Rows
	s.Arrived += o.Arrived
	for outcome, l := range o.Outcomes {
		if l == nil {
			continue
		}
		if s.Outcomes[outcome] == nil {
			s.Outcomes[outcome] = &Latency{Intended: (*Histogram)(nil).Clone(), Sent: (*Histogram)(nil).Clone()}
		}
		s.Outcomes[outcome].Intended.Merge(l.Intended)
		s.Outcomes[outcome].Sent.Merge(l.Sent)
	}
}

// Length is how long the i-th window is: the last of a run may be shorter than the others.
func (r *Run) Length(i int) time.Duration {
	begin := r.Windows[i].Begin
	if i+1 < len(r.Windows) {
		return r.Windows[i+1].Begin - begin
	}
	if r.Took > begin {
		return min(time.Second, r.Took-begin)
	}
	return time.Second
}

// LateShare is the share of requests, from 0 to 1, that were sent too late.
func (g Generator) LateShare() float64 { return share(g.Late, g.Sent) }

// HitRatio is the share of requests that the server's cache answered. It is false when the server
// says nothing of its cache, or was not asked.
func (s Server) HitRatio() (float64, bool) { return share(s.Hits, s.Lookups), s.Lookups > 0 }

func rate(n uint64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}

func share(n, of uint64) float64 {
	if of == 0 {
		return 0
	}
	return float64(n) / float64(of)
}
