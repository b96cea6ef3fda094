package host

import (
	"errors"
	"os"
	"testing"

	"github.com/thrumserve/thrum/backends/weights"
)

func TestShelf(t *testing.T) {
	if f, err := weights.NewFile(); err != nil {
		t.Skip(err)
	} else {
		f.Close()
	}
	var s shelf
	first, doneFirst := s.take()
	second, doneSecond := s.take()
	if first == nil || second != first {
		t.Fatalf("take = %p, then %p, want the same", first, second)
	}
	doneFirst(nil)
	if third, done := s.take(); third != first {
		t.Errorf("take after a good start = %p, want %p", third, first)
	} else {
		done(nil)
	}
	doneSecond(errors.New("failed"))
	if _, err := first.Stat(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("memory that a start failed over is not closed: %v", err)
	}
	third, doneThird := s.take()
	if third == nil || third == first {
		t.Errorf("take after a failed start = %p, want another than %p", third, first)
	}
	s.close()
	if _, err := third.Stat(); err != nil {
		t.Errorf("memory is closed under a start: %v", err)
	}
	doneThird(nil)
	if _, err := third.Stat(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("memory outlives its model: %v", err)
	}
	if fourth, done := s.take(); fourth != nil {
		t.Error("take after close is not nil")
	} else {
		done(errors.New("failed"))
	}
	if n := s.bytes(); n != 0 {
		t.Errorf("bytes = %d of nothing", n)
	}
	s.close()
}
