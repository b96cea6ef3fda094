package kernels

import (
	"embed"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// images are what build.sh makes: cubins for devices that are known, PTX for those that come later.
//
//go:embed images
var images embed.FS

// cubins are the compute capabilities that there are cubins for, in order. A cubin runs on devices of
// the same major and the same or a later minor number.
var cubins = [][2]int{{8, 0}, {8, 6}, {8, 9}, {9, 0}}

// Image returns what a device of that compute capability loads: a cubin, or the text of PTX, which
// ends in a zero byte.
func Image(major, minor int) ([]byte, error) {
	name := ""
	for _, c := range cubins {
		if major == c[0] && minor >= c[1] {
			name = fmt.Sprintf("sm_%d%d.cubin", c[0], c[1])
		}
	}
	if last := cubins[len(cubins)-1]; major > last[0] {
		name = fmt.Sprintf("compute_%d%d.ptx", last[0], last[1])
	}
	if name == "" {
		return nil, fmt.Errorf("a device of compute capability %d.%d: 8.0 is the least", major, minor)
	}
	packed, err := images.ReadFile("images/" + name + ".zst")
	if err != nil {
		return nil, fmt.Errorf("no kernels for a device of compute capability %d.%d: %w", major, minor, err)
	}
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.DecodeAll(packed, nil)
}
