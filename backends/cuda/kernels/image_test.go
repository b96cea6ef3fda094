package kernels_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/thrumserve/thrum/backends/cuda/kernels"
	"github.com/thrumserve/thrum/backends/cuda/kernels/emulated"
)

// TestImagesAreOfTheSources fails where a source has changed since `make cuda-kernels`.
func TestImagesAreOfTheSources(t *testing.T) {
	manifest, err := os.ReadFile("images/manifest.txt")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, pattern := range []string{"src/*", "images/*.zst"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if len(data) > 1<<20 {
				t.Errorf("%s has %d bytes: more than a mebibyte", name, len(data))
			}
			sum := sha256.Sum256(data)
			want = append(want, hex.EncodeToString(sum[:])+"  "+name)
		}
	}
	got := strings.Split(strings.TrimSpace(string(manifest)), "\n")
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the images are not of these sources: run `make cuda-kernels`\nhave %v\nwant %v", got, want)
	}
}

func TestImage(t *testing.T) {
	for _, c := range []struct {
		major, minor int
		machine      byte // of a cubin: its compute capability; 0 for PTX
	}{{8, 0, 80}, {8, 6, 86}, {8, 7, 86}, {8, 9, 89}, {9, 0, 90}, {10, 0, 0}, {12, 1, 0}} {
		data, err := kernels.Image(c.major, c.minor)
		if err != nil {
			t.Errorf("Image(%d, %d): %v", c.major, c.minor, err)
			continue
		}
		if c.machine == 0 {
			if !bytes.Contains(data, []byte(".target sm_90")) || data[len(data)-1] != 0 {
				t.Errorf("Image(%d, %d) is no PTX that ends in a zero", c.major, c.minor)
			}
			continue
		}
		// An ELF file of NVIDIA's machine, 190, whose flags name what it is for.
		if !bytes.HasPrefix(data, []byte("\x7fELF")) || data[18] != 190 || data[49] != c.machine {
			t.Errorf("Image(%d, %d) is no cubin for sm_%d: % x", c.major, c.minor, c.machine, data[:64])
		}
	}
	for _, c := range [][2]int{{7, 5}, {0, 0}} {
		if _, err := kernels.Image(c[0], c[1]); err == nil {
			t.Errorf("Image(%d, %d) gave no error", c[0], c[1])
		}
	}
}

// TestImagesHaveEveryKernel holds the images against what is emulated.
func TestImagesHaveEveryKernel(t *testing.T) {
	names := emulated.Open(t).Kernels()
	if len(names) < 90 {
		t.Fatalf("there are %d kernels: %v", len(names), names)
	}
	for _, c := range [][2]int{{8, 0}, {8, 6}, {8, 9}, {9, 0}, {10, 0}} {
		data, err := kernels.Image(c[0], c[1])
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			section := []byte(".text." + name + "\x00")
			if c[0] > 9 {
				section = fmt.Appendf(nil, ".entry %s(", name)
			}
			if !bytes.Contains(data, section) {
				t.Errorf("the image for %d.%d lacks %s", c[0], c[1], name)
			}
		}
	}
}
