package ml

// Key is an element that can be looked up.
type Key interface {
	string | float32 | float64 | int16 | int32 | int64
}

// Dictionary maps keys to values, as LabelEncoder and CategoryMapper do.
type Dictionary[K Key, V any] struct {
	values    map[K]V
	nan       *V // what NaN maps to
	otherwise V
}

// NewDictionary returns the dictionary of keys and their values; the first of equal keys
// counts, and NaN equals NaN. otherwise is what any other key maps to.
func NewDictionary[K Key, V any](keys []K, values []V, otherwise V) (*Dictionary[K, V], error) {
	if len(keys) != len(values) {
		return nil, invalid("%d keys for %d values: they need the same number", len(keys), len(values))
	}
	d := &Dictionary[K, V]{values: make(map[K]V, len(keys)), otherwise: otherwise}
	for i, k := range keys {
		_, twice := d.values[k]
		switch {
		case k == k && !twice:
			d.values[k] = values[i]
		case k != k && d.nan == nil:
			d.nan = &values[i]
		}
	}
	return d, nil
}

// Map writes to dst what the elements of x map to.
func (d *Dictionary[K, V]) Map(dst []V, x []K) {
	for i, k := range x {
		v, ok := d.values[k]
		switch {
		case ok:
			dst[i] = v
		case k != k && d.nan != nil:
			dst[i] = *d.nan
		default:
			dst[i] = d.otherwise
		}
	}
}

// OneHot turns elements into rows with a 1 in the column of their category.
type OneHot[K Key] struct {
	columns map[K]int
	width   int
	zeros   bool
}

// NewOneHot returns the encoder for the categories; of equal ones the last counts. zeros says
// that an element of no category becomes a row of zeros; else it is an error.
func NewOneHot[K Key](categories []K, zeros bool) (*OneHot[K], error) {
	if len(categories) == 0 {
		return nil, invalid("no categories: set cats_strings or cats_int64s as the input's datatype asks for")
	}
	o := &OneHot[K]{columns: make(map[K]int, len(categories)), width: len(categories), zeros: zeros}
	for i, c := range categories {
		o.columns[c] = i
	}
	return o, nil
}

// Width returns the number of categories.
func (o *OneHot[K]) Width() int { return o.width }

// Encode writes the row of each element of x to dst. An element of no category is an
// ErrInvalid where zeros were not asked for.
func (o *OneHot[K]) Encode(dst []float32, x []K) error {
	clear(dst)
	for i, k := range x {
		c, ok := o.columns[k]
		switch {
		case ok:
			dst[i*o.width+c] = 1
		case !o.zeros:
			return invalid("%v is none of the %d categories", k, o.width)
		}
	}
	return nil
}
