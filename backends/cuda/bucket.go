package cuda

import "slices"

// usualRows is the largest batch where nobody says how large batches become.
const usualRows = 128

// Buckets returns the batch sizes for which a graph is captured, ascending: the powers of two
// below maxRows, and maxRows itself. Where maxRows is 0 it is 128.
func Buckets(maxRows int) []int {
	if maxRows <= 0 {
		maxRows = usualRows
	}
	var all []int
	for n := 1; n < maxRows; n *= 2 {
		all = append(all, n)
	}
	return append(all, maxRows)
}

// Bucket returns the smallest of buckets, which ascend, that holds so many rows; false if none
// does, and the batch has to be computed in parts of at most the largest.
func Bucket(buckets []int, rows int) (int, bool) {
	i, _ := slices.BinarySearch(buckets, rows)
	if i == len(buckets) {
		return 0, false
	}
	return buckets[i], true
}
