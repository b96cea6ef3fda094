package result

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Histogram counts durations from a microsecond to an hour with three significant digits; what is
// outside counts as the nearest of them. The zero value is not usable.
type Histogram struct{ counts *hdrhistogram.Histogram }

// NewHistogram returns an empty one.
func NewHistogram() *Histogram {
	return &Histogram{hdrhistogram.New(int64(time.Microsecond), int64(time.Hour), 3)}
}
