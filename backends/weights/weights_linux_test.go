//go:build linux && (amd64 || arm64)

package weights

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// dyingKey makes this test binary a process that dies while it fills file 3.
const dyingKey = "THRUM_TEST_DYING"

func TestMain(m *testing.M) {
	if os.Getenv(lookingKey) != "" {
		look()
		return
	}
	if os.Getenv(dyingKey) != "" {
		s := Open(context.Background(), os.NewFile(3, "weights"), "key")
		s.Make("a", nil, minShared, func(dst []byte) { dst[0] = 1 })
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	os.Exit(m.Run())
}

func newFile(t testing.TB) *os.File {
	t.Helper()
	f, err := NewFile()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// constant is something that a model keeps.
type constant struct {
	kind   string
	source string
	size   int
}

var model = []constant{{"packed", "first", 10_000}, {"small", "second", 100}, {"constant", "third", minShared}}

// make makes c, and says whether it had to be filled.
func (c constant) make(s *Store) (made []byte, filled bool) {
	made = s.Make(c.kind, []byte(c.source), c.size, func(dst []byte) {
		filled = true
		copy(dst, bytes.Repeat([]byte(c.source), c.size))
	})
	return made, filled
}

func openStore(t *testing.T, f *os.File, key string) *Store {
	t.Helper()
	s := Open(t.Context(), f, key)
	if s == nil {
		t.Fatal("Open = nil, want a store")
	}
	t.Cleanup(s.Close)
	return s
}

// fill makes all constants in f.
func fill(t *testing.T, f *os.File, all []constant) {
	t.Helper()
	s := openStore(t, f, "key")
	for _, c := range all {
		c.make(s)
	}
	if err := s.Complete(); err != nil {
		t.Fatalf("Complete = %v", err)
	}
}

func TestTheSecondFindsWhatTheFirstMade(t *testing.T) {
	f := newFile(t)
	var first [][]byte
	for turn := range 3 {
		s := openStore(t, f, "key")
		for i, c := range model {
			made, filled := c.make(s)
			small := c.size < minShared
			if filled != (turn == 0 || small) || s.Holds(made) == small {
				t.Errorf("turn %d: %s filled %v, shared %v", turn, c.kind, filled, s.Holds(made))
			}
			if uintptr(unsafe.Pointer(&made[0]))%line != 0 || len(made) != c.size {
				t.Errorf("turn %d: %s has %d bytes at %p, want %d from a cache line on", turn, c.kind, len(made), made, c.size)
			}
			if turn == 0 {
				first = append(first, made)
			} else if !bytes.Equal(made, first[i]) {
				t.Errorf("turn %d: %s differs from what the first has", turn, c.kind)
			}
		}
		if (Size(f) > 0) != (turn > 0) {
			t.Errorf("turn %d: Size = %d before Complete", turn, Size(f))
		}
		if err := s.Complete(); err != nil {
			t.Errorf("turn %d: Complete = %v", turn, err)
		}
		if made, filled := model[0].make(s); !filled || s.Holds(made) {
			t.Errorf("turn %d: what is made after Complete is shared", turn)
		}
	}
	if n := Size(f); n != 3*line+10_048+minShared-line+line {
		t.Errorf("Size = %d", n)
	}
}

func TestNobodyWritesToWhatIsComplete(t *testing.T) {
	f := newFile(t)
	fill(t, f, model)
	if _, err := f.WriteAt([]byte{1}, 0); !errors.Is(err, unix.EPERM) {
		t.Errorf("write = %v, want EPERM", err)
	}
	if err := f.Truncate(0); !errors.Is(err, unix.EPERM) {
		t.Errorf("truncate = %v, want EPERM", err)
	}
	if _, err := unix.Mmap(int(f.Fd()), 0, line, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); !errors.Is(err, unix.EPERM) {
		t.Errorf("mmap for writing = %v, want EPERM", err)
	}
	s := openStore(t, f, "key")
	if err := unix.Mprotect(s.mem, unix.PROT_READ|unix.PROT_WRITE); !errors.Is(err, unix.EACCES) {
		t.Errorf("mprotect of a reader's memory = %v, want EACCES", err)
	}
}

func TestWhatDoesNotFitIsNotBelieved(t *testing.T) {
	other := func(i int, c constant) []constant {
		changed := append([]constant(nil), model...)
		changed[i] = c
		return changed
	}
	for situation, all := range map[string][]constant{
		"another kind":        other(0, constant{"unpacked", "first", 10_000}),
		"another source":      other(0, constant{"packed", "changed", 10_000}),
		"another size":        other(2, constant{"constant", "third", minShared + 1}),
		"another order":       {model[2], model[1], model[0]},
		"one more":            append(other(0, model[0]), model[0]),
		"one that is missing": model[:2],
		"none":                nil,
	} {
		t.Run(situation, func(t *testing.T) {
			f := newFile(t)
			fill(t, f, model)
			s := openStore(t, f, "key")
			for _, c := range all {
				c.make(s)
			}
			if err := s.Complete(); !errors.Is(err, ErrMismatch) {
				t.Errorf("Complete = %v, want ErrMismatch", err)
			}
		})
	}
	f := newFile(t)
	fill(t, f, model)
	if s := Open(t.Context(), f, "another key"); s != nil {
		t.Error("Open with another key is not nil")
	}
}

func TestWhatIsHalfWrittenIsNotBelieved(t *testing.T) {
	f := newFile(t)
	s := openStore(t, f, "key")
	model[0].make(s)
	s.Close()
	if again := Open(t.Context(), f, "key"); again != nil || Size(f) != 0 {
		t.Errorf("Open = %v, Size = %d after a writer gave up, want nil, 0", again, Size(f))
	}
}

func TestADeadWriterHoldsNobodyUp(t *testing.T) {
	f := newFile(t)
	dying := exec.Command(os.Args[0])
	dying.Env = append(os.Environ(), dyingKey+"=1")
	dying.ExtraFiles = []*os.File{f}
	if err := dying.Run(); err == nil {
		t.Fatal("the writer did not die")
	}
	if stat, err := f.Stat(); err != nil || stat.Size() < minShared {
		t.Fatalf("the writer left %d bytes, %v", stat.Size(), err)
	}
	begin := time.Now()
	if s := Open(t.Context(), f, "key"); s != nil {
		t.Error("Open after the writer's death is not nil")
	}
	if took := time.Since(begin); took > patience/2 {
		t.Errorf("Open took %v", took)
	}
}

func TestAWriterWithoutMemoryHoldsNobodyUp(t *testing.T) {
	f := newFile(t)
	s := openStore(t, f, "key")
	s.err = unix.ENOSPC
	if made, filled := model[0].make(s); !filled || s.Holds(made) {
		t.Error("what there is no memory for is shared")
	}
	if err := s.Complete(); err != nil {
		t.Errorf("Complete = %v, want no error: nothing is wrong", err)
	}
	begin := time.Now()
	if again := Open(t.Context(), f, "key"); again != nil || Size(f) != 0 {
		t.Error("what is not complete is believed")
	}
	if took := time.Since(begin); took > patience/2 {
		t.Errorf("Open took %v", took)
	}
}

func TestOneWaitsForAnother(t *testing.T) {
	f := newFile(t)
	first := openStore(t, f, "key")
	second := make(chan *Store)
	go func() { second <- Open(t.Context(), f, "key") }()
	for _, c := range model {
		c.make(first)
	}
	select {
	case <-second:
		t.Fatal("Open returned while another was writing")
	default:
	}
	if err := first.Complete(); err != nil {
		t.Fatal(err)
	}
	s := <-second
	defer s.Close()
	if _, filled := model[0].make(s); s == nil || filled {
		t.Error("who waited did not find what the other made")
	}
}

func TestNobodyWaitsForEver(t *testing.T) {
	f := newFile(t)
	openStore(t, f, "key")
	if s := open(t.Context(), f, "key", 10*time.Millisecond); s != nil {
		t.Error("open is not nil though another is still writing")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s := Open(ctx, f, "key"); s != nil {
		t.Error("Open is not nil though its context has ended")
	}
}

func TestWithoutAFileThatCanBeShared(t *testing.T) {
	plain, err := os.Create(filepath.Join(t.TempDir(), "plain"))
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if _, err := plain.WriteString("something"); err != nil {
		t.Fatal(err)
	}
	closed := newFile(t)
	closed.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for situation, f := range map[string]*os.File{"none": nil, "closed": closed, "a pipe": r, "not empty": plain} {
		s := Open(t.Context(), f, "key")
		made, filled := model[0].make(s)
		if s != nil || !filled || len(made) != model[0].size || uintptr(unsafe.Pointer(&made[0]))%line != 0 {
			t.Errorf("%s: Open = %v, filled %v, %d bytes", situation, s, filled, len(made))
		}
		if err := s.Complete(); err != nil || s.Holds(made) {
			t.Errorf("%s: Complete = %v, Holds = %v", situation, err, s.Holds(made))
		}
		s.Close()
	}
}

func TestMoreThanThereIsRoomForIsPrivate(t *testing.T) {
	s := openStore(t, newFile(t), "key")
	s.end = maxBytes - minShared // nearly full
	if dst, _ := s.next(2*minShared, 0); dst != nil || s.err != nil {
		t.Errorf("next beyond the end = %d bytes, %v, want none and no error", len(dst), s.err)
	}
}

func TestWhatIsKeptOfAStore(t *testing.T) {
	f := newFile(t)
	fill(t, f, model)
	before := mappings(t)
	for range 100 {
		s := openStore(t, f, "key")
		s.Close()
		s.Close()
	}
	if after := mappings(t); after > before {
		t.Errorf("%d mappings after 100 stores, %d before", after, before)
	}
}

func mappings(t *testing.T) int {
	t.Helper()
	data, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(data, []byte("thrum-weights"))
}

// FuzzSealed reads files that another program has made and sealed.
func FuzzSealed(f *testing.F) {
	f.Add([]byte{}, true)
	f.Add(make([]byte, 3*line), true)
	f.Add(append([]byte{0, 0x10}, make([]byte, minShared+line)...), true)
	f.Add(bytes.Repeat([]byte{255}, 2*minShared), false)
	f.Fuzz(func(t *testing.T, content []byte, begun bool) {
		file := newFile(t)
		if begun { // with the record that everything else is made for
			s := Open(t.Context(), file, "key")
			s.Close()
		}
		stat, err := file.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteAt(content, stat.Size()); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.FcntlInt(file.Fd(), unix.F_ADD_SEALS, seals); err != nil {
			t.Fatal(err)
		}
		s := Open(t.Context(), file, "key")
		defer s.Close()
		if s != nil && !begun {
			t.Error("a file without a beginning is believed")
		}
		for range 2 {
			if made, filled := model[2].make(s); len(made) != model[2].size || !filled && !s.Holds(made) {
				t.Errorf("Make = %d bytes, filled %v", len(made), filled)
			}
		}
		_ = s.Complete()
	})
}

func TestPrivateMemory(t *testing.T) {
	s := Private()
	if s == nil {
		t.Fatal("Private = nil")
	}
	var all [][]byte
	for i, n := range []int{minShared, 3*hugePage + 5, minShared + 1, hugePage} {
		b := s.Make("kind", nil, n, func(dst []byte) { dst[0], dst[len(dst)-1] = byte(i), byte(i) })
		if len(b) != n || uintptr(unsafe.Pointer(&b[0]))%line != 0 {
			t.Errorf("Make = %d bytes at %p, want %d from a cache line on", len(b), b, n)
		}
		all = append(all, b)
	}
	if err := s.Complete(); err != nil || s.Shared() {
		t.Errorf("Complete = %v, shared %v", err, s.Shared())
	}
	for i, b := range all {
		if b[0] != byte(i) || b[len(b)-1] != byte(i) {
			t.Errorf("constant %d has changed", i)
		}
	}
	if after := s.Make("kind", nil, maxBytes/1024, func([]byte) {}); len(after) != maxBytes/1024 {
		t.Errorf("Make of more than is left = %d bytes", len(after))
	}
	s.Close()
	s.Close()
}
