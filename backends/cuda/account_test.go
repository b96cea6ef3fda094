package cuda

import (
	"errors"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/thrumserve/thrum/backends"
)

func TestReserveRefusesWhatDoesNotFit(t *testing.T) {
	a := NewAccount("device 0", 3<<30)
	first, err := a.Reserve("model a", 2<<30)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []uint64{1<<30 + 1, math.MaxUint64} {
		if _, err := a.Reserve("model b", n); !errors.Is(err, backends.ErrUnavailable) {
			t.Errorf("Reserve(%d) = %v, want an ErrUnavailable", n, err)
		}
	}
	_, err = a.Reserve("model b", 5<<28)
	if want := "model b needs 1.2 GiB of device 0, of which 1.0 GiB are free of 3.0 GiB"; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("Reserve = %v, want %q", err, want)
	}
	if _, err := a.Reserve("model b", 1<<30); err != nil {
		t.Errorf("Reserve of exactly what is free = %v", err)
	}
	first()
	first()
	if free := a.Free(); free != 2<<30 {
		t.Errorf("Free = %d after release, want %d", free, 2<<30)
	}
}

func TestAccountAmongGoroutines(t *testing.T) {
	a := NewAccount("device 0", 50)
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if release, err := a.Reserve("a model", 1); err == nil {
				defer release()
			}
		})
	}
	all.Wait()
	if free := a.Free(); free != 50 {
		t.Errorf("Free = %d when all is released, want 50", free)
	}
}

func TestInUnits(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 bytes", 1023: "1023 bytes", 1024: "1.0 KiB", 3 << 19: "1.5 MiB", 80 << 30: "80.0 GiB", 1 << 62: "4194304.0 TiB"} {
		if got := inUnits(n); got != want {
			t.Errorf("inUnits(%d) = %q, want %q", n, got, want)
		}
	}
}
