package result

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strconv"
	"time"
)

// A results file is lines of text: a header, the windows and steps as they end, a footer. Each line
// is
//
//	CRC LENGTH JSON
//
// LENGTH, of eight digits, counts the bytes of JSON. CRC, of eight hexadecimal digits, is the
// CRC-32C of the JSON of this line and all before it, so that a line that is missing shows.
// `cut -c19- FILE` leaves the JSON.
const (
	format    = "thrum loadtest results"
	version   = 1
	frameSize = len("01234567 01234567 ")

	maxRecord  = 8 << 20
	maxWindows = 1 << 18 // three days
	maxSteps   = 1 << 12
	maxRate    = 1e9     // requests per second
	maxMemory  = 1 << 30 // of all histograms
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// record is a line: one of its fields is given.
type record struct {
	Header *header `json:"header,omitempty"`
	Window *Window `json:"window,omitempty"`
	Step   *Step   `json:"step,omitempty"`
	Footer *Run    `json:"footer,omitempty"` // without windows and steps
}

type header struct {
	Format  string    `json:"format"`
	Version int       `json:"version"`
	Asked   Asked     `json:"asked"`
	Began   time.Time `json:"began"`
}

// Writer writes a run to a results file as it goes. What it has written survives the end of the
// process that writes.
type Writer struct {
	to      io.Writer
	crc     uint32
	windows int
	steps   int
}

// Create starts a results file, which must not exist yet.
func Create(path string, asked Asked, began time.Time) (*Writer, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("results file %s exists: name another or remove it", path)
	}
	if err != nil {
		return nil, fmt.Errorf("results file: %w", err)
	}
	w, err := NewWriter(f, asked, began)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return w, nil
}

// NewWriter writes the header of a results file.
func NewWriter(to io.Writer, asked Asked, began time.Time) (*Writer, error) {
	w := &Writer{to: to}
	return w, w.write(record{Header: &header{Format: format, Version: version, Asked: asked, Began: began}})
}

// Window writes a window that has ended.
func (w *Writer) Window(v Window) error {
	w.windows++
	return w.write(record{Window: &v})
}

// Step writes a step that has ended.
func (w *Writer) Step(s Step) error {
	w.steps++
	return w.write(record{Step: &s})
}

// Close writes what is left of r, its windows and steps beyond as many as have been written, and
// the footer, and closes the file. Of a run that came to nothing r is nil: the file stays cut.
func (w *Writer) Close(r *Run) error {
	err := w.finish(r)
	if f, ok := w.to.(*os.File); ok {
		return errors.Join(err, f.Sync(), f.Close())
	}
	return err
}

func (w *Writer) finish(r *Run) error {
	if r == nil {
		return nil
	}
	for _, v := range r.Windows[min(w.windows, len(r.Windows)):] {
		if err := w.Window(v); err != nil {
			return err
		}
	}
	for _, s := range r.Steps[min(w.steps, len(r.Steps)):] {
		if err := w.Step(s); err != nil {
			return err
		}
	}
	footer := *r
	footer.Windows, footer.Steps = nil, nil
	return w.write(record{Footer: &footer})
}

func (w *Writer) write(r record) error {
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("results file: %w", err)
	}
	if len(body) > maxRecord {
		return fmt.Errorf("results file: a record of %d bytes, at most %d", len(body), maxRecord)
	}
	w.crc = crc32.Update(w.crc, castagnoli, body)
	if _, err := w.to.Write(append(frame(w.crc, len(body)), append(body, '\n')...)); err != nil {
		return fmt.Errorf("results file: %w", err)
	}
	return nil
}

func frame(crc uint32, length int) []byte {
	return fmt.Appendf(nil, "%08x %08d ", crc, length)
}

// Save writes a whole run to a results file, which must not exist yet.
func Save(path string, r *Run) error {
	w, err := Create(path, r.Asked, r.Began)
	if err != nil {
		return err
	}
	return w.Close(r)
}

// Damage says how much of a results file could be read. The run that comes with it holds that much
// and is invalid.
type Damage struct {
	Windows, Steps int
	Offset, Bytes  int64 // where the damage begins and how many bytes there are from there on
	Reason         string
}

func (d *Damage) Error() string {
	recovered := fmt.Sprintf("recovered %s windows and %s steps", thousands(int64(d.Windows)), thousands(int64(d.Steps)))
	if d.Bytes == 0 {
		return recovered + "; " + d.Reason
	}
	return fmt.Sprintf("%s; %s bytes from offset %s on are damaged: %s", recovered, thousands(d.Bytes), thousands(d.Offset), d.Reason)
}

func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Load reads a results file. If it is cut short or damaged the error is a *Damage and the run is
// what comes before the damage; with any other error there is none.
func Load(path string) (*Run, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("results file: %w", err)
	}
	defer f.Close()
	r, err := Read(f)
	if err != nil {
		return r, fmt.Errorf("results file %s: %w", path, err)
	}
	return r, nil
}

// Read reads a results file as Load does.
func Read(from io.Reader) (*Run, error) {
	r := &reader{from: bufio.NewReader(from)}
	first, err := r.next()
	switch {
	case err != nil:
		return nil, fmt.Errorf("is none that `thrum loadtest` has written, or its first line is damaged: %w", err)
	case first.Header == nil || first.Header.Format != format:
		return nil, errors.New("is none that `thrum loadtest` has written")
	case first.Header.Version != version:
		return nil, fmt.Errorf("has version %d of the format, want %d: read it with the thrum that wrote it", first.Header.Version, version)
	}
	r.run = &Run{Asked: first.Header.Asked, Began: first.Header.Began}
	return r.run, r.rest()
}

// reader reads records up to the first that is damaged.
type reader struct {
	from   *bufio.Reader
	crc    uint32
	offset int64 // of the record that is read
	read   int64 // bytes of it that have been read
	memory int
	run    *Run
}

// rest reads all after the header.
func (r *reader) rest() error {
	for {
		rec, err := r.next()
		if err == nil {
			err = r.take(rec)
		}
		if err != nil {
			return r.damaged(err)
		}
		if rec.Footer == nil {
			continue
		}
		r.advance()
		if _, err := r.from.ReadByte(); !errors.Is(err, io.EOF) {
			r.read = 1
			return r.damaged(errors.New("there is more after the footer"))
		}
		return nil
	}
}

// next reads a record.
func (r *reader) next() (record, error) {
	r.advance()
	head := make([]byte, frameSize)
	if err := r.fill(head); err != nil {
		return record{}, err
	}
	length, err := strconv.Atoi(string(head[9:17]))
	if err != nil || length < 0 || length > maxRecord {
		return record{}, fmt.Errorf("a record of %.8q bytes, at most %d", head[9:17], maxRecord)
	}
	body := make([]byte, length+1)
	if err := r.fill(body); err != nil {
		return record{}, err
	}
	body, end := body[:length], body[length]
	r.crc = crc32.Update(r.crc, castagnoli, body)
	if end != '\n' || !bytes.Equal(head, frame(r.crc, length)) {
		return record{}, errors.New("the checksum does not fit")
	}
	return decode(body)
}

// advance leaves a record that is whole behind.
func (r *reader) advance() { r.offset, r.read = r.offset+r.read, 0 }

func (r *reader) fill(b []byte) error {
	n, err := io.ReadFull(r.from, b)
	r.read += int64(n)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return errors.New("the file is cut before the end of the run")
	}
	return err
}

func decode(body []byte) (record, error) {
	var rec record
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	err := d.Decode(&rec)
	return rec, err
}

// take adds a record to the run.
func (r *reader) take(rec record) error {
	switch {
	case rec.Window != nil:
		return r.takeWindow(*rec.Window)
	case rec.Step != nil:
		return r.takeStep(*rec.Step)
	case rec.Footer != nil && rec.Footer.Took < 0:
		return fmt.Errorf("a run of %v", rec.Footer.Took)
	case rec.Footer != nil:
		steps, windows := r.run.Steps, r.run.Windows
		*r.run = *rec.Footer
		r.run.Steps, r.run.Windows = steps, windows
		return nil
	default:
		return errors.New("a record that is neither a window nor a step nor the footer")
	}
}

func (r *reader) takeWindow(w Window) error {
	if n := len(r.run.Windows); n == maxWindows {
		return fmt.Errorf("more than %d windows", maxWindows)
	} else if n > 0 && w.Begin <= r.run.Windows[n-1].Begin || w.Begin < 0 {
		return fmt.Errorf("a window from %v on, after one that begins later", w.Begin)
	}
	if err := r.hold(w.OK); err != nil {
		return err
	}
	r.run.Windows = append(r.run.Windows, w)
	return nil
}

func (r *reader) takeStep(s Step) error {
	if len(r.run.Steps) == maxSteps {
		return fmt.Errorf("more than %d steps", maxSteps)
	}
	if s.Rate < 0 || s.Rate > maxRate || s.Duration < 0 {
		return fmt.Errorf("a step of %v requests per second for %v", s.Rate, s.Duration)
	}
	for _, l := range s.Outcomes {
		if l == nil {
			return errors.New("an outcome without its latency")
		}
		if err := errors.Join(r.hold(l.Intended), r.hold(l.Sent)); err != nil {
			return err
		}
	}
	r.run.Steps = append(r.run.Steps, s)
	return nil
}

// hold counts the memory of a histogram.
func (r *reader) hold(h *Histogram) error {
	if h != nil && h.packed != nil {
		r.memory += h.packed.GetMemorySize()
	}
	if r.memory > maxMemory {
		return fmt.Errorf("its histograms take more than %d bytes", maxMemory)
	}
	return nil
}

// damaged marks the run.
func (r *reader) damaged(why error) error {
	left, err := io.Copy(io.Discard, r.from)
	d := &Damage{Windows: len(r.run.Windows), Steps: len(r.run.Steps), Offset: r.offset, Bytes: r.read + left, Reason: why.Error()}
	r.run.Invalid = append(r.run.Invalid, "results file: "+d.Error())
	if err != nil {
		return errors.Join(d, err)
	}
	return d
}
