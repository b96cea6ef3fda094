package cpu

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/weights"
	"github.com/thrumserve/thrum/plugins"
	"github.com/thrumserve/thrum/plugins/host"
)

// What TestInstancesShareWeights loads: table[i] + relu(x·up)·down.
const (
	columns     = 1024
	hidden      = 6144
	weightBytes = 4 * (2*columns*hidden + columns*columns)
)

// TestInstancesShareWeights looks at what the kernel says of real processes.
func TestInstancesShareWeights(t *testing.T) {
	needSharing(t)
	dir := heavyDir(t)
	alone, one := openInstances(t, dir, 1, plugins.Options{})
	without := memoryOf(t, alone.PIDs()[0])
	if err := alone.Close(); err != nil {
		t.Fatal(err)
	}
	m, several := openInstances(t, dir, 2, plugins.Options{})
	if n := m.Stats().SharedBytes; n < weightBytes || n > weightBytes+weightBytes/100 {
		t.Errorf("SharedBytes = %d, want %d and little more", n, weightBytes)
	}
	pids := m.PIDs()
	with := memoryOf(t, pids[0])
	t.Logf("memory of an instance with %d MiB of weights, in MiB: private %d, weights that it shares %d; without sharing: private %d",
		weightBytes>>20, with.private>>20, with.weights>>20, without.private>>20)
	for _, pid := range pids {
		checkSharing(t, m, pid, without)
	}

	if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	several.await(t, host.Died)
	if out, err := m.Predict(t.Context(), question()); err != nil || !bytes.Equal(out.Tensors[0].Data, one.answers[0]) {
		t.Errorf("Predict while one instance is dead = %v, or another answer than before", err)
	} else {
		out.Release()
	}
	several.await(t, host.Ready)
	for m.Stats().Live < 2 && t.Context().Err() == nil {
		runtime.Gosched()
	}
	after := m.PIDs()
	if len(after) != 2 || slices.Contains(after, pids[0]) {
		t.Fatalf("PIDs = %v after the death of %d", after, pids[0])
	}
	for _, pid := range after {
		checkSharing(t, m, pid, without)
	}
	for i, answer := range several.answers {
		if !bytes.Equal(answer, one.answers[0]) {
			t.Errorf("instance %d does not answer as one with weights of its own", i)
		}
	}
	if n := len(several.answers); n != 3 {
		t.Errorf("%d instances were asked, want 3", n)
	}
}

// TestWeightsAreSharedHoweverInstancesStart passes the memory on beside more and fewer files.
func TestWeightsAreSharedHoweverInstancesStart(t *testing.T) {
	needSharing(t)
	dir := heavyDir(t)
	sum, err := plugins.Checksum(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	for situation, o := range map[string]plugins.Options{
		"tensors by gRPC":  {Transport: plugins.TransportGRPC},
		"a pinned program": {Checksum: sum},
	} {
		m, _ := openInstances(t, dir, 2, o)
		if n := m.Stats().SharedBytes; n < weightBytes {
			t.Errorf("%s: SharedBytes = %d, want %d", situation, n, weightBytes)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

func needSharing(t *testing.T) {
	t.Helper()
	f, err := weights.NewFile()
	if err != nil {
		t.Skip(err)
	}
	f.Close()
}

func heavyDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "model.onnx"), heavyModel(), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// witness keeps what becomes of instances.
type witness struct {
	mu      sync.Mutex
	answers [][]byte // to question, in the order in which the instances were ready
	events  chan host.EventKind
}

// await waits for an event.
func (w *witness) await(t *testing.T, kind host.EventKind) {
	t.Helper()
	for {
		select {
		case got := <-w.events:
			if got == kind {
				return
			}
		case <-t.Context().Done():
			t.Fatalf("no event %q", kind)
		}
	}
}

func openInstances(t *testing.T, dir string, n int, o plugins.Options) (*host.Model, *witness) {
	t.Helper()
	w := &witness{events: make(chan host.EventKind, 100)}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	o.Name, o.Log = "cpu", log
	m, err := host.Open(t.Context(), host.Options{
		Command:   self(),
		Plugin:    o,
		Spec:      backends.Spec{Model: "heavy", Version: "1", Dir: dir, Options: map[string]string{"threads": "1"}},
		Instances: n,
		Log:       log,
		Prove: func(ctx context.Context, m backends.Model) error {
			out, err := m.Predict(ctx, question())
			if err != nil {
				return err
			}
			defer out.Release()
			w.mu.Lock()
			defer w.mu.Unlock()
			w.answers = append(w.answers, bytes.Clone(out.Tensors[0].Data))
			return nil
		},
		OnEvent: func(e host.Event) { w.events <- e.Kind },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	for range n {
		w.await(t, host.Ready)
	}
	return m, w
}

// checkSharing looks at an instance of a model of which another lives, too.
func checkSharing(t *testing.T, of *host.Model, pid int, without memory) {
	t.Helper()
	m := memoryOf(t, pid)
	// Pages that are put together to huge ones are not in a process until it reads them again.
	for end := time.Now().Add(10 * time.Second); m.weights < weightBytes*9/10 && time.Now().Before(end); {
		askAll(t, of)
		m = memoryOf(t, pid)
	}
	if saved := without.private - m.private; saved < weightBytes*8/10 {
		t.Errorf("process %d has %d bytes of its own, %d less than one without sharing, want %d less", pid, m.private, saved, weightBytes)
	}
	if m.weights < weightBytes*9/10 {
		t.Errorf("process %d shares %d bytes of weights, want %d", pid, m.weights, weightBytes)
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	mapped := 0
	for line := range strings.Lines(string(data)) {
		if !strings.Contains(line, "thrum-weights") {
			continue
		}
		if mapped++; strings.Fields(line)[1] != "r--s" {
			t.Errorf("process %d maps the weights so that they can change: %s", pid, line)
		}
	}
	if mapped != 1 {
		t.Errorf("process %d maps the weights %d times, want once", pid, mapped)
	}
}

// askAll asks both instances at once.
func askAll(t *testing.T, m *host.Model) {
	var asked sync.WaitGroup
	for range 2 {
		asked.Go(func() {
			out, err := m.Predict(t.Context(), question())
			if err != nil {
				t.Error(err)
			}
			out.Release()
		})
	}
	asked.Wait()
}

// memory is what a process takes, in bytes. What it maps of its program is left out: that comes and goes.
type memory struct {
	private int // and changed
	weights int // that another process maps, too
}

func memoryOf(t *testing.T, pid int) memory {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps", pid))
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("this kernel does not say what memory processes share")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var m memory
	ofWeights := false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var name string
		var kib int
		if _, err := fmt.Sscanf(lines.Text(), "%s %d kB", &name, &kib); err != nil { // the head of a mapping
			if strings.Contains(name, "-") {
				ofWeights = strings.Contains(lines.Text(), "thrum-weights")
			}
			continue
		}
		switch {
		case name == "Private_Dirty:":
			m.private += kib << 10
		case ofWeights && (name == "Shared_Clean:" || name == "Shared_Dirty:"):
			m.weights += kib << 10
		}
	}
	return m
}

// question is a batch of two rows.
func question() backends.Batch {
	return backends.Batch{Tensors: []backends.Tensor{
		{Name: "x", Datatype: backends.FP32, Shape: []int64{2, columns}, Data: wave(2 * columns)},
		{Name: "i", Datatype: backends.Int64, Shape: []int64{2}, Data: binary.LittleEndian.AppendUint64(make([]byte, 8), 77)},
	}}
}

// wave returns n numbers of FP32.
func wave(n int) []byte {
	data := make([]byte, 0, 4*n)
	for i := range n {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(math.Sin(float64(i)*1.7))))
	}
	return data
}

// message is a protobuf message being written.
type message []byte

func (m message) number(field protowire.Number, n uint64) message {
	return protowire.AppendVarint(protowire.AppendTag(m, field, protowire.VarintType), n)
}

func (m message) bytes(field protowire.Number, parts ...message) message {
	for _, p := range parts {
		m = protowire.AppendBytes(protowire.AppendTag(m, field, protowire.BytesType), p)
	}
	return m
}

func (m message) text(field protowire.Number, all ...string) message {
	for _, s := range all {
		m = m.bytes(field, message(s))
	}
	return m
}

// heavyModel is an ONNX file of weightBytes and little more.
func heavyModel() []byte {
	node := func(op string, out string, in ...string) message {
		return message(nil).text(1, in...).text(2, out).text(3, out).text(4, op)
	}
	matrix := func(name string, rows, cols int) message {
		return message(nil).number(1, uint64(rows)).number(1, uint64(cols)).number(2, 1).text(8, name).bytes(9, wave(rows*cols))
	}
	value := func(name string, kind uint64, dims ...message) message {
		tensor := message(nil).number(1, kind).bytes(2, message(nil).bytes(1, dims...))
		return message(nil).text(1, name).bytes(2, message(nil).bytes(1, tensor))
	}
	n, wide := message(nil).text(2, "n"), message(nil).number(1, columns)
	graph := message(nil).text(2, "heavy").
		bytes(1, node("MatMul", "h", "x", "up"), node("Relu", "r", "h"), node("MatMul", "p", "r", "down"),
			node("Gather", "g", "table", "i"), node("Add", "y", "p", "g")).
		bytes(5, matrix("up", columns, hidden), matrix("down", hidden, columns), matrix("table", columns, columns)).
		bytes(11, value("x", 1, n, wide), value("i", 7, n)).
		bytes(12, value("y", 1, n, wide))
	return message(nil).number(1, 8).bytes(7, graph).bytes(8, message(nil).text(1, "").number(2, 17))
}
