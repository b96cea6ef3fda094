package capture

import (
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"time"

	"github.com/thrumserve/thrum/backends"
)

// A file is the magic bytes and then frames. A frame is the length of what it holds and its
// CRC-32C, both as little-endian uint32, and then that. The first holds a header as JSON, each
// other one a request: when it arrived, in nanoseconds since the header's began, as a little-endian
// int64; the length of its JSON as a uint32; and the body of the request with binary tensors.
const (
	magic       = "THRUMCAP"
	frameBytes  = 8
	recordBytes = frameBytes + 12
	schema      = 1
)

// parameterMask is how a mask names a request parameter.
const parameterMask = "parameters."

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header is the first frame of a file.
type header struct {
	Schema  int       `json:"schema"`
	Model   string    `json:"model"`
	Version string    `json:"version"`
	Began   time.Time `json:"began"`
	Rate    float64   `json:"rate"`
	Mask    []string  `json:"mask,omitempty"`
}

func (r *Recorder) head() []byte {
	o := r.options
	text, err := json.Marshal(header{Schema: schema, Model: o.Model, Version: o.Version, Began: r.began.UTC(), Rate: o.Rate, Mask: o.Mask})
	if err != nil {
		panic(err) // a type of our own; the rate is a number
	}
	return append([]byte(magic), seal(append(make([]byte, frameBytes), text...))...)
}

// seal completes a frame, whose first bytes are left for that.
func seal(frame []byte) []byte {
	binary.LittleEndian.PutUint32(frame, uint32(len(frame)-frameBytes))
	binary.LittleEndian.PutUint32(frame[4:], crc32.Checksum(frame[frameBytes:], castagnoli))
	return frame
}

// request is the JSON of a request with binary tensors.
type request struct {
	Parameters map[string]json.RawMessage `json:"parameters,omitempty"`
	Inputs     []input                    `json:"inputs"`
	Outputs    []output                   `json:"outputs,omitempty"`
}

type input struct {
	Name       string     `json:"name"`
	Datatype   string     `json:"datatype"`
	Shape      []int64    `json:"shape"`
	Parameters parameters `json:"parameters"`
}

type parameters struct {
	Size int `json:"binary_data_size"`
}

type output struct {
	Name string `json:"name"`
}

// sizeOf is about what the record of a request takes: its data, and as much JSON as is usual.
func (r *Recorder) sizeOf(in backends.Batch) int {
	size := recordBytes + 64 + 48*len(in.Outputs) + 64*len(in.Parameters)
	for _, t := range in.Tensors {
		data := len(t.Data)
		if r.masked(t.Name) {
			data = blankSize(t)
		}
		size += data + len(t.Name) + 128
	}
	return size
}

// appendRecord appends the frame of a request, not yet sealed. What is masked is left out here, so
// that it waits nowhere on its way to the file.
func (r *Recorder) appendRecord(dst []byte, in backends.Batch, arrived time.Time) []byte {
	data := make([][]byte, len(in.Tensors))
	text := r.describe(in, data)
	dst = append(dst, make([]byte, frameBytes)...)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(arrived.Sub(r.began)))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(text)))
	dst = append(dst, text...)
	for _, d := range data {
		dst = append(dst, d...)
	}
	return dst
}

// describe returns a request's JSON, and in data what follows it.
func (r *Recorder) describe(in backends.Batch, data [][]byte) []byte {
	var q request
	for _, p := range in.Parameters {
		if r.masked(parameterMask + p.Name) {
			continue
		}
		if q.Parameters == nil {
			q.Parameters = map[string]json.RawMessage{}
		}
		q.Parameters[p.Name] = json.RawMessage(p.Value)
	}
	for i, t := range in.Tensors {
		data[i] = t.Data
		if r.masked(t.Name) {
			data[i] = blank(t)
		}
		shape := append([]int64{}, t.Shape...) // never null
		q.Inputs = append(q.Inputs, input{t.Name, t.Datatype.String(), shape, parameters{len(data[i])}})
	}
	for _, name := range in.Outputs {
		q.Outputs = append(q.Outputs, output{name})
	}
	text, err := json.Marshal(q)
	if err != nil {
		panic(err) // types of our own; parameters hold canonical JSON
	}
	return text
}

// blank returns data of the tensor's shape that tell nothing: zeros, or as many empty texts.
func blank(t backends.Tensor) []byte { return make([]byte, blankSize(t)) }

func blankSize(t backends.Tensor) int {
	if t.Datatype == backends.Bytes {
		return int(t.Elements()) * len(backends.AppendBytesElement(nil, nil))
	}
	return len(t.Data)
}
