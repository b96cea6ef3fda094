package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"

	"github.com/bytedance/sonic"
	"github.com/goccy/go-json"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/server/oip"
)

// form is how numbers are written.
type form struct {
	name   string
	format byte
	places int
	bits   int
}

var (
	shortest = form{"shortest", 'g', -1, 32}
	decimals = form{"3 decimals", 'f', 3, 32}
	doubles  = form{"as float64", 'g', -1, 64}
)

func comparisons() []comparison {
	return []comparison{
		reading(784, shortest, 1.8, 2.5),
		reading(150_528, shortest, 1.5, 2.0),
		reading(784, decimals, 0, 0),
		reading(784, doubles, 0, 0),
		writing(784),
		writing(150_528),
	}
}

// numbers returns values as of normalised data: half of them negative.
func numbers(n int, f form) []float32 {
	random := rand.New(rand.NewPCG(1, 2))
	all := make([]float32, n)
	for i := range all {
		v, err := strconv.ParseFloat(f.text(random.Float32()*2-1), 32)
		if err != nil {
			panic(err) // what strconv writes it reads
		}
		all[i] = float32(v)
	}
	return all
}

func (f form) text(v float32) string {
	return strconv.FormatFloat(float64(v), f.format, f.places, f.bits)
}

// array returns the values as a JSON array.
func (f form) array(values []float32) []byte {
	text := []byte("[")
	for i, v := range values {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(text, f.text(v)...)
	}
	return append(text, ']')
}

// reading compares parsers, each into memory that it is given.
func reading(n int, f form, overGoccy, overSonic float64) comparison {
	want := numbers(n, f)
	text := f.array(want)
	own := backends.Tensor{Name: "x", Datatype: backends.FP32, Shape: []int64{int64(n)}, Data: make([]byte, 0, 4*n)}
	theirs := make([]float32, 0, n)
	var failed error
	note := func(err error) {
		if err != nil {
			failed = err
		}
	}
	c := comparison{
		name: fmt.Sprintf("read %d, %s", n, f.name), floats: n,
		own: func() { note(oip.ReadArray(&own, text)) },
		peers: []peer{
			{"goccy", overGoccy, func() { theirs = theirs[:0]; note(json.Unmarshal(text, &theirs)) }},
			{"sonic", overSonic, func() { theirs = theirs[:0]; note(sonic.ConfigFastest.Unmarshal(text, &theirs)) }},
		},
	}
	c.check = func() error {
		c.own()
		if failed != nil {
			return failed
		}
		if err := same("thrum", decoded(own.Data), want); err != nil {
			return err
		}
		for _, p := range c.peers {
			if p.work(); failed != nil {
				return failed
			}
			if err := same(p.name, theirs, want); err != nil {
				return err
			}
		}
		return nil
	}
	return c
}

func decoded(data []byte) []float32 {
	all := make([]float32, len(data)/4)
	for i := range all {
		all[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return all
}

func same(who string, got, want []float32) error {
	if len(got) != len(want) {
		return fmt.Errorf("%s read %d numbers of %d", who, len(got), len(want))
	}
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			return fmt.Errorf("%s read %v at %d: it is %v", who, got[i], i, want[i])
		}
	}
	return nil
}

// writing compares formatters, each into memory that it is given if it takes any.
func writing(n int) comparison {
	values := numbers(n, shortest)
	tensor := backends.Tensor{Name: "x", Datatype: backends.FP32, Shape: []int64{int64(n)}}
	for _, v := range values {
		tensor.Data = binary.LittleEndian.AppendUint32(tensor.Data, math.Float32bits(v))
	}
	var own, standard, other []byte
	var failed error
	c := comparison{
		name: fmt.Sprintf("write %d, shortest", n), floats: n,
		own: func() { own, failed = oip.AppendArray(own[:0], tensor) },
		peers: []peer{
			{"strconv", 2, func() {
				standard = append(standard[:0], '[')
				for i, v := range values {
					if i > 0 {
						standard = append(standard, ',')
					}
					standard = strconv.AppendFloat(standard, float64(v), 'g', -1, 32)
				}
				standard = append(standard, ']')
			}},
			{"sonic", 0.95, func() { other, failed = sonic.ConfigFastest.Marshal(values) }},
		},
	}
	c.check = func() error {
		for _, work := range []func(){c.own, c.peers[0].work, c.peers[1].work} {
			if work(); failed != nil {
				return failed
			}
		}
		for _, written := range [][]byte{own, standard, other} {
			back := backends.Tensor{Name: "x", Datatype: backends.FP32, Shape: tensor.Shape}
			if err := oip.ReadArray(&back, written); err != nil {
				return err
			}
			if err := same("a formatter's text", decoded(back.Data), values); err != nil {
				return err
			}
		}
		if long := len(own) - len(standard); bytes.Count(own, []byte("e")) == bytes.Count(standard, []byte("e")) && long != 0 {
			return fmt.Errorf("thrum writes %d bytes more than strconv", long)
		}
		return nil
	}
	return c
}
