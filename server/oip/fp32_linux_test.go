package oip

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/thrumserve/thrum/backends"
)

// fenced returns n bytes between two pages that cannot be touched, at the start of what lies between
// them or at the end.
func fenced(t *testing.T, n int, atEnd bool) []byte {
	page := unix.Getpagesize()
	size := (n + page - 1) / page * page
	memory, err := unix.Mmap(-1, 0, size+2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(memory); err != nil {
			t.Error(err)
		}
	})
	for _, fence := range [][]byte{memory[:page], memory[page+size:]} {
		if err := unix.Mprotect(fence, unix.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	inside := memory[page : page+size : page+size]
	if atEnd {
		return inside[size-n:]
	}
	return inside[:n:n]
}

func TestNothingIsReadBesideTheText(t *testing.T) {
	for n := 1; n < 60; n++ {
		numbers := strings.Split(strings.Repeat("0.125,-1.5,0.3333333333333333,", n), ",")[:3*n]
		want, err := oneByOne(numbers)
		if err != nil {
			t.Fatal(err)
		}
		for _, atEnd := range []bool{false, true} {
			text := fenced(t, len(strings.Join(numbers, ","))+2, atEnd)
			copy(text, "["+strings.Join(numbers, ",")+"]")
			got := backends.Tensor{Name: "x", Datatype: backends.FP32, Shape: []int64{int64(len(numbers))}}
			got.Data = fenced(t, len(want), true)[:0:len(want)]
			if err := ReadArray(&got, text); err != nil || !bytes.Equal(got.Data, want) {
				t.Fatalf("%d numbers: %x, %v, want %x", len(numbers), got.Data, err, want)
			}
		}
	}
}
