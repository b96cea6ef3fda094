package attack

import (
	"os"
	"testing"
	"time"
)

func TestPollerWakesByARingAndByTheTime(t *testing.T) {
	p, err := newPoller()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := p.wait(time.Millisecond); n != 0 || err != nil {
		t.Errorf("wait() = %d, %v, want that nothing happens", n, err)
	}
	go p.ring()
	if n, err := p.wait(time.Minute); n != 1 || err != nil || p.events[0].Fd != none {
		t.Errorf("wait() = %d, %v with %+v, want a ring", n, err, p.events[0])
	}
	p.close()
	p.close()
}

// Whoever rings after the end of an attack writes into no file that was opened since.
func TestPollerDoesNotRingAfterItsEnd(t *testing.T) {
	p, err := newPoller()
	if err != nil {
		t.Fatal(err)
	}
	p.close()
	var files []*os.File
	for range 4 {
		f, err := os.Create(t.TempDir() + "/file")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files = append(files, f)
	}
	p.ring()
	for _, f := range files {
		if info, err := f.Stat(); err != nil || info.Size() > 0 {
			t.Errorf("a file has %d bytes, %v", info.Size(), err)
		}
	}
}
