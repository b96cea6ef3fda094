package plugins

import (
	"bytes"
	"context"
	"runtime/debug"
	"syscall"
	"testing"
	"unsafe"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/plugins/shm"
)

// placing is a model that answers in place, if it can, and has nobody write there again.
type placing struct {
	stub
	elsewhere bool // it answers elsewhere although there is room
	asked     int
	placed    bool
}

const placedBytes = 64 << 10

func (p *placing) PredictInto(_ context.Context, _ backends.Batch, place func([]backends.Tensor) bool) (backends.Batch, error) {
	tensors := []backends.Tensor{
		{Name: "y", Datatype: backends.Uint8, Shape: []int64{placedBytes}},
		{Name: "n", Datatype: backends.Int32, Shape: []int64{3}},
	}
	p.asked++
	p.placed = place(tensors)
	if !p.placed || p.elsewhere {
		tensors[0].Data, tensors[1].Data = make([]byte, placedBytes), make([]byte, 12)
	}
	for i := range tensors {
		copy(tensors[i].Data, bytes.Repeat([]byte{'a' + byte(i)}, len(tensors[i].Data)))
	}
	if p.placed && !p.elsewhere {
		// Pages that are the tensor's alone: who writes there is stopped by the processor.
		page := syscall.Getpagesize()
		at := int(uintptr(unsafe.Pointer(&tensors[0].Data[0])) % uintptr(page))
		whole := tensors[0].Data[page-at:]
		if err := syscall.Mprotect(whole[:len(whole)/page*page], syscall.PROT_READ); err != nil {
			return backends.Batch{}, err
		}
	}
	return backends.Batch{Tensors: tensors}, nil
}

func TestAnAnswerInPlaceIsNotCopied(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	sig := backends.Signature{
		Inputs:  []backends.TensorSpec{{Name: "x", Datatype: backends.FP32, Shape: []int64{-1, 1}}},
		Outputs: []backends.TensorSpec{{Name: "y", Datatype: backends.Uint8, Shape: []int64{-1}}, {Name: "n", Datatype: backends.Int32, Shape: []int64{3}}},
	}
	in := rows(1)
	request := frameOf(&sig, []backends.Batch{in}, nil)
	data := make([]byte, request.bytes())
	layParts(request.lay(data, nil), []backends.Batch{in})
	for _, c := range []struct {
		situation string
		room      int
		elsewhere bool
		placed    bool
		code      uint32
	}{
		{"there is room", 80 << 10, false, true, codeAnswer},
		{"it answers elsewhere", 80 << 10, true, true, codeAnswer},
		{"there is too little", 60 << 10, false, false, codeMoreRoom},
		{"there is none", 0, false, false, codeMoreRoom},
	} {
		mem, err := syscall.Mmap(-1, 0, 80<<10, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
		if err != nil {
			t.Fatal(err)
		}
		m := &placing{stub: stub{signature: sig}, elsewhere: c.elsewhere}
		s := newServer(m)
		handle := s.add(loadedModel{m, sig})
		a := s.answer(t.Context(), shm.Request{Tag: handle, Data: data, Room: mem[:c.room]})
		if a.Code != c.code || m.placed != c.placed || m.asked != 1 {
			t.Errorf("%s: answer = %+v (%s), placed %v, want code %d, placed %v", c.situation, a, mem[:min(a.Length, 200)], m.placed, c.code, c.placed)
		}
		if a.Code == codeAnswer {
			out, err := decode(mem[:a.Length], sig.Outputs, nil)
			if err != nil || bytes.Count(out.Tensors[0].Data, []byte("a")) != placedBytes || string(out.Tensors[1].Data) != "bbbbbbbbbbbb" {
				t.Errorf("%s: the answer reads %v, %v", c.situation, out, err)
			}
		}
		if err := syscall.Munmap(mem); err != nil {
			t.Fatal(err)
		}
	}
}
