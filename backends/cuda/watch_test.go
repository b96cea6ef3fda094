package cuda

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cuda/nvml"
)

// faults tells of what is sent.
type faults struct {
	told   chan uint64 // 0 is an error
	closed chan struct{}
}

func (f *faults) Next(patience time.Duration) (uint64, error) {
	select {
	case xid := <-f.told:
		if xid == 0 {
			return 0, errors.New("the device is lost")
		}
		return xid, nil
	case <-time.After(patience):
		return 0, nil
	}
}

func (f *faults) Close() { close(f.closed) }

// process is one of those that watch a device.
type process struct {
	watch  *watch
	faults *faults
	end    func()
}

// watching begins a watch with a ledger in a folder. end is as if its process ended.
func watching(t *testing.T, folder string) process {
	t.Helper()
	into, err := openLedger(folder, "GPU-a")
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	p := process{watch: &watch{device: "GPU-a", stop: stop, said: map[uint64]bool{}}, faults: &faults{make(chan uint64), make(chan struct{})}}
	go p.watch.run(p.faults, into)
	p.end = func() {
		close(stop)
		time.Sleep(2 * watchPeriod)
		select {
		case <-p.faults.closed:
		default:
			t.Error("a watch that is stopped still listens")
		}
	}
	synctest.Wait()
	return p
}

// happens tells all processes of a fault, in that order.
func happens(xid uint64, all ...process) {
	for _, p := range all {
		p.faults.told <- xid
		synctest.Wait()
	}
}

// counted returns what a watch has to say but for what is 0.
func counted(w *watch) map[backends.Figure]float64 {
	all := map[backends.Figure]float64{}
	w.figures(all)
	maps.DeleteFunc(all, func(_ backends.Figure, n float64) bool { return n == 0 })
	return all
}

func TestAFaultIsCountedOnceByAllProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		first, second := watching(t, folder), watching(t, folder)
		happens(79, first, second)
		happens(31, second, first)
		first.faults.told <- 0 // an error, which is not the end
		time.Sleep(2 * watchPeriod)
		happens(31, first, second)
		want := map[backends.Figure]float64{"xid_79": 1, "xid_31": 2}
		for i, p := range []process{first, second} {
			if got := counted(p.watch); !maps.Equal(got, want) {
				t.Errorf("process %d counts %v, want %v", i, got, want)
			}
		}
		first.end() // which has had the ledger
		if got := counted(first.watch); len(got) > 0 {
			t.Errorf("a watch that has ended counts %v", got)
		}
		happens(31, second)
		third := watching(t, folder)
		happens(13, third, second)
		want["xid_31"], want["xid_13"] = 3, 1
		for i, p := range []process{second, third} {
			if got := counted(p.watch); !maps.Equal(got, want) {
				t.Errorf("after one has ended, process %d counts %v, want %v", i, got, want)
			}
		}
		second.end()
		third.end()
		last := watching(t, folder)
		if got := counted(last.watch); !maps.Equal(got, want) {
			t.Errorf("after all have ended, another counts %v, want %v", got, want)
		}
		last.end()
	})
}

func TestCommonFaultsBeginAtNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := watching(t, t.TempDir())
		all := map[backends.Figure]float64{}
		p.watch.figures(all)
		for xid := range nvml.Common() {
			if n, ok := all[backends.FigureXid(xid)]; n != 0 || !ok {
				t.Errorf("before any fault, %d of Xid %d, told %v", int(n), xid, ok)
			}
		}
		p.end()
	})
	all := map[backends.Figure]float64{}
	(&watch{}).figures(all)
	if len(all) > 0 {
		t.Errorf("a device that tells of no faults has %v", all)
	}
}

// TestALedgerHasABound counts more faults than it has entries, and the commonest besides fit what a server takes.
func TestALedgerHasABound(t *testing.T) {
	folder := t.TempDir()
	l, err := openLedger(folder, "GPU-a")
	if err != nil || !l.take() {
		t.Fatalf("openLedger = %v, or it cannot be taken", err)
	}
	for range 2 {
		for xid := range uint64(100) {
			if err := l.add(1 + xid); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	if l, err = openLedger(folder, "GPU-a"); err != nil {
		t.Fatal(err)
	}
	all, err := l.read()
	if err != nil || len(all) != ledgerEntries || all[0] != (entry{1, 2}) || all[ledgerEntries-1] != (entry{unknownFault, 200 - 2*(ledgerEntries-1)}) {
		t.Errorf("read = %v, %v", all, err)
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
}

func TestALedgerOfSomebodyElseIsRefused(t *testing.T) {
	name := func(device string) string { return fmt.Sprintf("thrum-xids-%d-%s", os.Geteuid(), device) }
	folder := t.TempDir()
	target := filepath.Join(folder, "target")
	err := errors.Join(os.WriteFile(target, nil, 0o600), os.Symlink(target, filepath.Join(folder, name("link"))), os.Mkdir(filepath.Join(folder, name("folder")), 0o700))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ situation, folder, device string }{
		{"a link", folder, "link"}, {"a folder", folder, "folder"}, {"nowhere", filepath.Join(folder, "none"), "GPU-a"}, {"a device", "/dev", "/../null"},
	} {
		if l, err := openLedger(c.folder, c.device); err == nil {
			t.Errorf("%s: openLedger = %v, want an error", c.situation, l.file.Name())
		}
	}
}

// TestAProcessThatEndsWaitsForItsFault has the driver tell of a fault just after it has failed.
func TestAProcessThatEndsWaitsForItsFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManagement()
		began := time.Now()
		m.watches.Store([16]byte{1}, &watch{})
		if m.settle(); time.Since(began) != 0 {
			t.Errorf("where no device tells of faults, settle takes %v", time.Since(began))
		}
		p := watching(t, t.TempDir())
		m.watches.Store([16]byte{2}, p.watch)
		go func() {
			time.Sleep(lateFaults / 2)
			p.faults.told <- 31
		}()
		m.settle()
		if got := counted(p.watch); len(got) != 1 {
			t.Errorf("after settle, %v is counted, want the fault", got)
		}
		p.end()
	})
}
