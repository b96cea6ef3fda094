package quarantine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thrumserve/thrum/backends"
)

// lethal crashes over the rows that it is told, and counts.
type lethal struct {
	mu    sync.Mutex
	rows  []byte
	asked int
}

func (l *lethal) Predict(_ context.Context, in backends.Batch) (backends.Batch, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	if slices.Contains(l.rows, in.Tensors[0].Data[0]) {
		return backends.Batch{}, backends.Errorf(backends.ErrCrashed, "signal: segmentation fault")
	}
	return in, nil
}

func request(row byte) backends.Batch {
	return backends.Batch{Tensors: []backends.Tensor{{Name: "x", Datatype: backends.Uint8, Shape: []int64{1}, Data: []byte{row}}}}
}

func TestWhatCrashesIsRefusedForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := &lethal{rows: []byte{66}}
		guilty := 0
		q := New(next, Options{Duration: time.Minute, OnGuilty: func() { guilty++ }})
		name := digestOf(request(66)).String()
		for _, step := range []struct {
			situation string
			after     time.Duration
			row       byte
			want      string // part of the error; empty for an answer
			asked     int    // so far
			refused   uint64
		}{
			{"a good one", 0, 1, "", 1, 0},
			{"the first time", 0, 66, "signal: segmentation fault (request " + name + " is refused for 1m0s)", 2, 0},
			{"again", 20 * time.Second, 66, "request " + name + " is in quarantine for another 40s", 2, 1},
			{"a good one beside it", 0, 1, "", 3, 1},
			{"just before its time is over", 40*time.Second - 1, 66, "in quarantine for another 0s", 3, 2},
			{"its time is over", 1, 66, "is refused for 1m0s", 4, 2},
			{"and begins again", 0, 66, "in quarantine for another 1m0s", 4, 3},
		} {
			time.Sleep(step.after)
			_, err := q.Predict(t.Context(), request(step.row))
			if step.want == "" && err != nil || step.want != "" && (err == nil || !strings.Contains(err.Error(), step.want)) {
				t.Errorf("%s: Predict = %v, want %q", step.situation, err, step.want)
			}
			if err != nil && !errors.Is(err, backends.ErrCrashed) {
				t.Errorf("%s: Predict = %v, want an ErrCrashed", step.situation, err)
			}
			if next.asked != step.asked || q.Refused() != step.refused {
				t.Errorf("%s: %d asked, %d refused, want %d, %d", step.situation, next.asked, q.Refused(), step.asked, step.refused)
			}
		}
		if guilty != 2 {
			t.Errorf("OnGuilty was called %d times, want once for each time that a request was taken in", guilty)
		}
		time.Sleep(time.Minute)
		if _, err := q.Predict(t.Context(), request(1)); err != nil || q.inside.Load() != 0 || len(q.until) != 0 {
			t.Errorf("Predict = %v, %d inside, want nobody", err, q.inside.Load())
		}
	})
}

func TestTheListIsBounded(t *testing.T) {
	next := &lethal{rows: []byte{1, 2, 3, 4}}
	q := New(next, Options{Requests: 3})
	for row := byte(1); row <= 4; row++ {
		if _, err := q.Predict(t.Context(), request(row)); err == nil {
			t.Errorf("row %d was answered", row)
		}
	}
	if len(q.order) != 3 || len(q.until) != 3 || q.inside.Load() != 3 {
		t.Errorf("%d, %d, %d are inside, want 3", len(q.order), len(q.until), q.inside.Load())
	}
	for row, refused := range map[byte]bool{2: true, 3: true, 4: true} {
		before := next.asked
		_, _ = q.Predict(t.Context(), request(row))
		if (next.asked == before) != refused {
			t.Errorf("row %d: refused %v, want %v", row, next.asked == before, refused)
		}
	}
	before := next.asked
	if _, _ = q.Predict(t.Context(), request(1)); next.asked != before+1 {
		t.Error("the oldest is still refused")
	}
}

func TestOtherFailuresAreNotRemembered(t *testing.T) {
	failing := backends.PredictorFunc(func(context.Context, backends.Batch) (backends.Batch, error) {
		return backends.Batch{}, backends.Errorf(backends.ErrUnavailable, "no instance lives")
	})
	q := New(failing, Options{})
	for range 2 {
		if _, err := q.Predict(t.Context(), request(1)); !errors.Is(err, backends.ErrUnavailable) || err.Error() != "no instance lives" {
			t.Errorf("Predict = %v, want the error as it was", err)
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	next := &lethal{rows: []byte{1}}
	q := New(next, Options{})
	var callers sync.WaitGroup
	for i := range 100 {
		callers.Go(func() {
			row := byte(i % 4)
			_, err := q.Predict(t.Context(), request(row))
			if errors.Is(err, backends.ErrCrashed) != (row == 1) {
				t.Errorf("row %d: %v", row, err)
			}
		})
	}
	callers.Wait()
	if q.inside.Load() != 1 || len(q.order) != 1 {
		t.Errorf("%d are inside, want 1", q.inside.Load())
	}
}

func TestTheDigestIsOfTheWholeRequest(t *testing.T) {
	seen := map[digest]string{}
	named := request(1)
	named.Tensors[0].Name = "z"
	asking := request(1)
	asking.Outputs = []string{"y"}
	for i, in := range []backends.Batch{request(1), request(2), named, asking} {
		if before, ok := seen[digestOf(in)]; ok {
			t.Errorf("request %d has the digest of %s", i, before)
		}
		seen[digestOf(in)] = fmt.Sprint("request ", i)
	}
}
