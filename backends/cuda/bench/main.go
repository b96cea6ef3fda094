//go:build cuda

// Command bench measures models on a device beside PyTorch's compiler, in a folder that it is built into
// with all it needs: `make bench-cuda`. What is not measured it says. It ends with 77 where there is no
// device.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cuda"
	"github.com/thrumserve/thrum/backends/cuda/gpu"
	"github.com/thrumserve/thrum/backends/cuda/kernels"
)

// noDevice is what the program ends with where nothing can be measured.
const noDevice = 77

func main() {
	self, err := os.Executable()
	if err != nil {
		self = "."
	}
	folder := flag.String("folder", filepath.Dir(self), "where peer.py is")
	long := flag.Duration("time", 2*time.Second, "how long each row is measured")
	small := flag.Bool("small", false, "models of two small layers, to try the program itself")
	pretend := flag.Bool("pretend", false, "the driver is one of the tests', which has kernels of its own")
	flag.Parse()
	image := kernels.Image
	if *pretend {
		image = func(int, int) ([]byte, error) { return []byte("kernels\x00"), nil }
	}
	b := bench{backend: cuda.New(gpu.Open, image), peer: filepath.Join(*folder, "peer.py"), long: *long, form: base}
	if *small {
		b.form = form{layers: 2, width: 64, heads: 2, inner: 128, words: 100, sequence: 16}
	}
	info, err := b.backend.Info(context.Background())
	if err != nil {
		fmt.Println("nothing is measured:", err)
		os.Exit(noDevice)
	}
	fmt.Println(info.Device)
	if err := b.run(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// bench is one run of the program.
type bench struct {
	backend backends.Backend
	peer    string
	long    time.Duration
	form    form
}

// missing are rows that this program has no measurement of.
var missing = []string{
	"BERT-base bf16, batch 128, beside the rate of cuBLAS at 8192³",
	"ResNet-50 fp16, batch 1 / 8 / 64",
	"recommendation model, batch 2048",
	"through the whole server, beside graph replay alone",
	"copy and compute overlapped",
}

func (b bench) run() error {
	dir, err := os.MkdirTemp("", "thrum-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "model.onnx"), b.form.model(), 0o600); err != nil {
		return err
	}
	m, err := b.backend.Load(context.Background(), backends.Spec{Dir: dir, MaxRows: 128, Options: map[string]string{"precision": "bf16"}})
	if err != nil {
		return err
	}
	defer m.Close()
	fmt.Printf("%-34s %12s %14s %14s %s\n", "work", "here, ms", "processor, µs", "torch, ms", "ratio")
	for _, rows := range []int{1, 8, 32, 128} {
		took, processor, err := b.measure(m, rows)
		if err != nil {
			return err
		}
		theirs, err := b.theirs(rows)
		peer, ratio := "not measured", "not measured"
		if err == nil {
			peer, ratio = fmt.Sprintf("%.3f", theirs), fmt.Sprintf("%.2f×", theirs/milliseconds(took))
		}
		fmt.Printf("%-34s %12.3f %14.1f %14s %s\n", fmt.Sprintf("encoder bf16, %d × %d words", rows, b.form.sequence), milliseconds(took), float64(processor.Nanoseconds())/1e3, peer, ratio)
		if err != nil && rows == 1 {
			fmt.Println("  torch is not measured:", err)
		}
	}
	for _, row := range missing {
		fmt.Printf("%-80s not measured\n", row)
	}
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

// measure returns the median time of a batch from memory to memory, and what the processor takes for one.
func (b bench) measure(m backends.Model, rows int) (took, processor time.Duration, err error) {
	in := b.form.batch(rows)
	once := func() error {
		out, err := m.Predict(context.Background(), in)
		out.Release()
		return err
	}
	for range 3 {
		if err := once(); err != nil {
			return 0, 0, err
		}
	}
	var times []time.Duration
	before, start := used(), time.Now()
	for time.Since(start) < b.long || len(times) < 3 {
		began := time.Now()
		if err := once(); err != nil {
			return 0, 0, err
		}
		times = append(times, time.Since(began))
	}
	processor = (used() - before) / time.Duration(len(times))
	slices.Sort(times)
	return times[len(times)/2], processor, nil
}

// used returns what the processor has done for this process.
func used() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// theirs returns the milliseconds that PyTorch takes for the same, from memory of the device.
func (b bench) theirs(rows int) (float64, error) {
	f := b.form
	c := exec.Command("python3", b.peer, fmt.Sprint(rows), fmt.Sprint(f.sequence), fmt.Sprint(f.layers), fmt.Sprint(f.width), fmt.Sprint(f.heads), fmt.Sprint(f.inner), fmt.Sprint(f.words))
	out, err := c.Output()
	if err != nil {
		var said []string
		if e, ok := err.(*exec.ExitError); ok {
			said = strings.Split(strings.TrimSpace(string(e.Stderr)), "\n")
		}
		return 0, fmt.Errorf("%w: %s", err, strings.Join(said[max(0, len(said)-1):], ""))
	}
	var ms float64
	_, err = fmt.Sscan(string(out), &ms)
	return ms, err
}
