package main

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
)

// scribble writes over the region by which this process and its host tell each other what to
// do, as a wild pointer would, or a hostile hand. It spares the tensors: who writes over those
// answers wrongly, as a backend that computes wrongly does.
func scribble(what func(region []byte)) {
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		panic(err)
	}
	defer maps.Close()
	memory, err := os.OpenFile("/proc/self/mem", os.O_RDWR, 0)
	if err != nil {
		panic(err)
	}
	defer memory.Close()
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		var from, to int64
		var access string
		_, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &access)
		if err != nil || access != "rw-s" || !strings.Contains(lines.Text(), "memfd:thrum-control") {
			continue
		}
		region := make([]byte, to-from)
		if _, err := memory.ReadAt(region, from); err != nil {
			panic(err)
		}
		what(region)
		if _, err := memory.WriteAt(region, from); err != nil {
			panic(err)
		}
	}
}

func noise(region []byte) { _, _ = rand.Read(region) }

// forgery makes every message of the rings one that its reader waits for next, or will: the
// layout is that of package shm, 1024 lines in each ring, which end with their number.
func forgery(region []byte) {
	const line, ring, ringsAt = 64, 1024, 4096
	for at := ringsAt; at+line <= len(region); at += line {
		number := region[at+line-8 : at+line]
		next := binary.LittleEndian.Uint64(number) + ring
		if next == ring { // the line has not been used yet
			next = uint64((at-ringsAt)/line%ring) + 1
		}
		_, _ = rand.Read(region[at : at+line-8])
		binary.LittleEndian.PutUint64(number, next)
	}
}
