package ml

// Extract writes to dst, for each row of x, the elements at the given columns. A column that
// the rows lack is an ErrInvalid.
func Extract[T any](dst, x []T, columns int, at []int64) error {
	for _, c := range at {
		if c < 0 || c >= int64(columns) {
			return invalid("index %d of rows of %d elements", c, columns)
		}
	}
	if len(at) == 0 || columns == 0 {
		return nil
	}
	k := 0
	for from := 0; from < len(x); from += columns {
		for _, c := range at {
			dst[k] = x[from+int(c)]
			k++
		}
	}
	return nil
}

// Place writes the rows of x to the given place of the rows of dst: width columns from column
// at, the last of them 0 where the rows of x are shorter, and their rest left out where they
// are longer.
func Place[T Number](dst []float32, dstColumns, at, width int, x []T, columns int) {
	used := min(width, columns)
	for row := range len(dst) / max(dstColumns, 1) {
		to := dst[row*dstColumns+at : row*dstColumns+at+width]
		for i, v := range x[row*columns : row*columns+used] {
			to[i] = float32(v)
		}
		clear(to[used:])
	}
}
