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
	if first.weights == nil || first.locker == nil || second != first {
		t.Fatalf("take = %v, then %v, want the same", first, second)
	}
	doneFirst(nil)
	if third, done := s.take(); third != first {
		t.Errorf("take after a good start = %v, want %v", third, first)
	} else {
		done(nil)
	}
	doneSecond(errors.New("failed"))
	for _, f := range []*os.File{first.weights, first.locker} {
		if _, err := f.Stat(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s that a start failed over is not closed: %v", f.Name(), err)
		}
	}
	third, doneThird := s.take()
	if third.weights == nil || third == first {
		t.Errorf("take after a failed start = %v, want another than %v", third, first)
	}
	s.close()
	if _, err := third.weights.Stat(); err != nil {
		t.Errorf("memory is closed under a start: %v", err)
	}
	doneThird(nil)
	if _, err := third.weights.Stat(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("memory outlives its model: %v", err)
	}
	if fourth, done := s.take(); fourth != (shared{}) {
		t.Error("take after close is not nothing")
	} else {
		done(errors.New("failed"))
	}
	if n := s.bytes(); n != 0 {
		t.Errorf("bytes = %d of nothing", n)
	}
	s.close()
}
