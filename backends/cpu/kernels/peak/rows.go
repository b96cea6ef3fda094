package peak

import "fmt"

// Rows are rows of a table to be read.
type Rows struct {
	wide    bool
	table   []byte
	offsets []int
	size    int
}

// rowPart is what the size of a row is a multiple of, in bytes.
const rowPart = 256

// NewRows returns the rows of size bytes, a multiple of 256, that start at the offsets of table, to be
// read with registers of 64 bytes if wide and of 32 bytes otherwise.
func NewRows(wide bool, table []byte, offsets []int, size int) *Rows {
	if size <= 0 || size%rowPart != 0 {
		panic(fmt.Sprintf("peak: rows of %d bytes", size))
	}
	for _, at := range offsets {
		_ = table[at : at+size]
	}
	return &Rows{wide, table, offsets, size}
}

// Read reads rows lo to hi and does nothing with them. While it reads one it asks for that which is
// ahead rows later, for which there have to be as many rows behind hi. Builds without assembly read
// nothing.
func (r *Rows) Read(lo, hi, ahead int) {
	_ = r.offsets[lo : hi+ahead]
	const most = 256 // assembly cannot be interrupted
	for ; lo < hi; lo += most {
		rows(r.wide, &r.table[0], &r.offsets[lo], min(hi-lo, most), r.size/rowPart, 8*ahead)
	}
}
