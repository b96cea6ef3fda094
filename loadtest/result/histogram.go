package result

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"sort"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	shortest = time.Microsecond
	longest  = time.Hour
	digits   = 3
)

// Histogram counts durations from a microsecond to an hour with three significant digits; what is
// outside counts as the nearest of them. The zero value is not usable; a nil one can be read and is
// empty. It is not safe for use by several goroutines at once.
type Histogram struct {
	counts *hdrhistogram.Histogram       // 200 KB; nil when packed
	packed *hdrhistogram.PackedHistogram // a few bytes for each different value
}

// NewHistogram returns an empty one. To record in it allocates nothing.
func NewHistogram() *Histogram {
	return &Histogram{counts: newCounts()}
}

func newCounts() *hdrhistogram.Histogram {
	return hdrhistogram.New(int64(shortest), int64(longest), digits)
}

func newPacked() *hdrhistogram.PackedHistogram {
	return hdrhistogram.NewPacked(int64(shortest), int64(longest), digits)
}

// Record counts d once.
func (h *Histogram) Record(d time.Duration) { h.RecordN(d, 1) }

// RecordN counts d n times.
func (h *Histogram) RecordN(d time.Duration, n uint64) {
	if h.packed != nil {
		h.counts, h.packed = h.dense(), nil
	}
	// The range is held by the line below, and no run has 2^63 requests.
	_ = h.counts.RecordValues(int64(min(max(d, shortest), longest)), int64(n))
}

// Pack gives back the memory of what was not counted, for a histogram that is kept but hardly
// recorded in again: each second of a long run has one. Everything works as before.
func (h *Histogram) Pack() {
	if h.packed == nil {
		h.packed = newPacked()
		h.packed.MergeFrom(h.counts)
		h.packed.Compact()
		h.counts = nil
	}
}

// dense returns the counts, of a packed histogram a copy.
func (h *Histogram) dense() *hdrhistogram.Histogram {
	if h.packed == nil {
		return h.counts
	}
	counts := newCounts()
	h.packed.MergeInto(counts)
	return counts
}

// Merge adds what o has counted; o may be nil.
func (h *Histogram) Merge(o *Histogram) {
	switch {
	case o == nil:
	case h.packed != nil && o.packed != nil:
		h.packed.Merge(o.packed)
	case h.packed != nil:
		h.packed.MergeFrom(o.counts)
	case o.packed != nil:
		o.packed.MergeInto(h.counts)
	default:
		h.counts.Merge(o.counts)
	}
}

// Clone returns a copy that is independent of h; of nil an empty one.
func (h *Histogram) Clone() *Histogram {
	c := &Histogram{packed: newPacked()}
	c.Merge(h)
	return c
}

// Count is how many durations have been recorded.
func (h *Histogram) Count() uint64 {
	switch {
	case h == nil:
		return 0
	case h.packed != nil:
		return uint64(h.packed.TotalCount())
	default:
		return uint64(h.counts.TotalCount())
	}
}

// Quantile returns the duration that a share q of the recorded ones, from 0 to 1, does not pass; 0
// when there are none.
func (h *Histogram) Quantile(q float64) time.Duration { return h.Quantiles(q)[0] }

// Quantiles returns several of them by one pass.
func (h *Histogram) Quantiles(qs ...float64) []time.Duration {
	durations := make([]time.Duration, len(qs))
	if h.Count() == 0 {
		return durations
	}
	percentiles := make([]float64, len(qs))
	for i, q := range qs {
		percentiles[i] = q * 100
	}
	for i, v := range h.at(percentiles) {
		durations[i] = time.Duration(min(v, int64(longest)))
	}
	return durations
}

func (h *Histogram) at(percentiles []float64) []int64 {
	if h.packed != nil {
		return h.packed.ValueAtPercentilesSlice(percentiles)
	}
	return h.counts.ValueAtPercentilesSlice(percentiles)
}

// Max returns the longest duration, as far as three digits tell; 0 when there are none.
func (h *Histogram) Max() time.Duration { return h.Quantile(1) }

// Mean returns their mean; 0 when there are none.
func (h *Histogram) Mean() time.Duration {
	switch {
	case h == nil:
		return 0
	case h.packed != nil:
		return time.Duration(h.packed.Mean())
	default:
		return time.Duration(h.counts.Mean())
	}
}

// Within is how many durations do not pass limit, as far as three digits tell.
func (h *Histogram) Within(limit time.Duration) uint64 {
	if h.Count() == 0 {
		return 0
	}
	var n int64
	for _, bar := range h.dense().Distribution() {
		if bar.From <= int64(limit) {
			n += bar.Count
		}
	}
	return uint64(n)
}

// Point is a point of the curve of percentiles: a share Quantile of the durations does not pass
// Value.
type Point struct {
	Quantile float64
	Value    time.Duration
}

// Curve returns the percentiles as they are plotted: on an axis of 1/(1-Quantile) the points are
// evenly spread, ten for each halving of what is left, and the last one, at 1, is the longest.
func (h *Histogram) Curve() []Point {
	n := h.Count()
	if n == 0 {
		return nil
	}
	const perHalf = 10
	var qs []float64
	for i := range perHalf*64 + 1 {
		rest := math.Pow(0.5, float64(i)/perHalf)
		if rest*float64(n) < 1 {
			break
		}
		qs = append(qs, 1-rest)
	}
	qs = append(qs, 1)
	points := make([]Point, len(qs))
	for i, d := range h.Quantiles(qs...) {
		points[i] = Point{qs[i], d}
	}
	return points
}

// Bar is how many durations lie in [From, To).
type Bar struct {
	From, To time.Duration
	Count    uint64
}

// Bars returns the distribution in bars that are evenly wide on a logarithmic axis, ten for each
// factor of ten, from the first that is not empty to the last.
func (h *Histogram) Bars() []Bar {
	const perDecade = 10
	if h.Count() == 0 {
		return nil
	}
	edge := func(i int) time.Duration {
		return time.Duration(float64(shortest) * math.Pow(10, float64(i)/perDecade))
	}
	var bars []Bar
	for i := 0; edge(i) <= longest; i++ {
		bars = append(bars, Bar{From: edge(i), To: edge(i + 1)})
	}
	first, last := len(bars), 0
	for _, v := range h.dense().Distribution() {
		if v.Count > 0 {
			i := sort.Search(len(bars)-1, func(i int) bool { return time.Duration(v.From+v.To)/2 < bars[i].To })
			bars[i].Count += uint64(v.Count)
			first, last = min(first, i), max(last, i)
		}
	}
	return bars[first : last+1]
}

// MarshalText returns the V2 compressed encoding of HdrHistogram in base64, which every tool for
// HDR histograms reads; the unit is a nanosecond.
func (h *Histogram) MarshalText() ([]byte, error) {
	if h.packed != nil {
		return h.packed.Encode()
	}
	return h.counts.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
}

// UnmarshalText reads what MarshalText has written. Histograms of another range or precision are
// refused: they could not be merged.
func (h *Histogram) UnmarshalText(text []byte) error {
	if err := checkGeometry(text); err != nil {
		return fmt.Errorf("histogram: %w", err)
	}
	packed, err := hdrhistogram.DecodePacked(text)
	if err != nil {
		return fmt.Errorf("histogram: %w", err)
	}
	if packed.TotalCount() > maxCount {
		return fmt.Errorf("histogram: counts more than %d durations", int64(maxCount))
	}
	h.counts, h.packed = nil, packed
	return nil
}

// maxCount is the most that floating point counts exactly.
const maxCount = 1 << 53

// checkGeometry reads the head of an encoded histogram. It comes before the decoder because that
// allocates what the head asks for.
func checkGeometry(text []byte) error {
	encoded := base64.NewDecoder(base64.StdEncoding, bytes.NewReader(text))
	var outer [8]byte // cookie and length
	if _, err := io.ReadFull(encoded, outer[:]); err != nil {
		return errors.New("too short")
	}
	z, err := zlib.NewReader(encoded)
	if err != nil {
		return err
	}
	var head struct {
		Cookie, Length, Offset, Digits int32
		Lowest, Highest                int64
	}
	if err := binary.Read(z, binary.BigEndian, &head); err != nil {
		return errors.New("too short")
	}
	if head.Digits != digits || head.Lowest != int64(shortest) || head.Highest != int64(longest) {
		return fmt.Errorf("of %d digits from %d to %d, want %d from %d to %d",
			head.Digits, head.Lowest, head.Highest, digits, int64(shortest), int64(longest))
	}
	return nil
}
