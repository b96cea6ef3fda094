package main

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
)

// scribble writes over the region by which this process and its host tell each other what to
// do, as a wild pointer would. It spares the tensors: who writes over those answers wrongly, as
// a backend that computes wrongly does.
func scribble() {
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
		noise := make([]byte, min(to-from, 64<<10))
		_, _ = rand.Read(noise)
		_, _ = memory.WriteAt(noise, from)
	}
}
