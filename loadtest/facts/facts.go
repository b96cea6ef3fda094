// Package facts is what a server says of itself at /metrics, and what the system says of its
// processes.
package facts

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/thrumserve/thrum/loadtest/result"
)

// Facts are what is known at one time. Counters count from the start of the server; what is not
// known is 0.
type Facts struct {
	CPU        time.Duration
	Memory     uint64 // bytes, resident
	Goroutines uint64
	Files      uint64 // open descriptors
	Hits       uint64 // requests that reached no model: the answer was in the cache, or on its way there
	Lookups    uint64 // requests for which a cache was asked
	Bypassed   uint64 // requests to a model with a cache that went past it, as they asked
	Batches    uint64
	BatchRows  uint64
	Queue      time.Duration
	Compute    time.Duration
}

// Since returns what a server did between two times, and what it held at most.
func (f Facts) Since(before Facts) result.Server {
	return result.Server{
		CPU:       max(f.CPU-before.CPU, 0),
		Memory:    max(f.Memory, before.Memory),
		Hits:      less(f.Hits, before.Hits),
		Lookups:   less(f.Lookups, before.Lookups),
		Bypassed:  less(f.Bypassed, before.Bypassed),
		Batches:   less(f.Batches, before.Batches),
		BatchRows: less(f.BatchRows, before.BatchRows),
		Queue:     max(f.Queue-before.Queue, 0),
		Compute:   max(f.Compute-before.Compute, 0),
	}
}

// less is a - b, 0 where a counter began anew.
func less(a, b uint64) uint64 { return a - min(a, b) }

const (
	maxText = 32 << 20 // of an answer
	maxLine = 1 << 20
)

// patience with an answer.
const patience = 5 * time.Second

// Scrape asks for the metrics at url by via, of which those of the model count where they are labelled
// by model.
func Scrape(ctx context.Context, via *http.Client, url, model string) (Facts, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return Facts{}, fmt.Errorf("metrics: %w", err)
	}
	reply, err := via.Do(request)
	if err != nil {
		return Facts{}, fmt.Errorf("metrics: %w", err)
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusOK {
		return Facts{}, fmt.Errorf("metrics: %s answers %s", url, reply.Status)
	}
	return Parse(io.LimitReader(reply.Body, maxText), model)
}

// Parse reads metrics in Prometheus' text form. Lines that are not known are passed over; one that
// is no metric at all is an error.
func Parse(from io.Reader, model string) (Facts, error) {
	var f Facts
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		s, err := parseLine(line)
		if err != nil {
			return Facts{}, fmt.Errorf("metrics: %w", err)
		}
		if of := s.label("model"); of == "" || of == model {
			f.add(s)
		}
	}
	if err := lines.Err(); err != nil {
		return Facts{}, fmt.Errorf("metrics: %w", err)
	}
	return f, nil
}

// sample is a line.
type sample struct {
	name, labels string // labels as they are written, between the braces
	value        float64
}

func parseLine(line string) (sample, error) {
	invalid := fmt.Errorf("%.80q is no line of Prometheus' text form", line)
	end := strings.IndexAny(line, "{ \t")
	if end <= 0 {
		return sample{}, invalid
	}
	s := sample{name: line[:end]}
	rest := line[end:]
	if rest[0] == '{' {
		closing := strings.LastIndexByte(rest, '}')
		if closing < 0 {
			return sample{}, invalid
		}
		s.labels, rest = rest[1:closing], rest[closing+1:]
	}
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return sample{}, invalid
	}
	value, err := strconv.ParseFloat(fields[0], 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return sample{}, invalid
	}
	s.value = value
	return s, nil
}

// label returns the value of a label. Those that are asked for hold no quotes and no backslashes.
func (s sample) label(name string) string {
	for rest := s.labels; ; {
		i := strings.Index(rest, name+`="`)
		if i < 0 {
			return ""
		}
		value := rest[i+len(name)+2:]
		if i == 0 || rest[i-1] == ',' || rest[i-1] == ' ' {
			value, _, _ = strings.Cut(value, `"`)
			return value
		}
		rest = value
	}
}

func (s sample) count() uint64 {
	if !(s.value > 0) {
		return 0
	}
	return uint64(min(s.value, 1<<53))
}

func (s sample) seconds() time.Duration {
	if !(s.value > 0) {
		return 0
	}
	return time.Duration(min(s.value*1e9, math.MaxInt64/2))
}

func (f *Facts) add(s sample) {
	switch s.name {
	case "process_cpu_seconds_total":
		f.CPU = s.seconds()
	case "process_resident_memory_bytes":
		f.Memory = s.count()
	case "process_open_fds":
		f.Files = s.count()
	case "go_goroutines":
		f.Goroutines = s.count()
	case "thrum_cache_requests_total":
		switch s.label("outcome") {
		case "bypass":
			f.Bypassed += s.count()
		case "hit", "shared":
			f.Hits += s.count()
			f.Lookups += s.count()
		default:
			f.Lookups += s.count()
		}
	case "thrum_batch_rows_count":
		f.Batches += s.count()
	case "thrum_batch_rows_sum":
		f.BatchRows += s.count()
	case "thrum_stage_seconds_sum":
		switch s.label("stage") {
		case "queue":
			f.Queue += s.seconds()
		case "compute":
			f.Compute += s.seconds()
		}
	}
}
