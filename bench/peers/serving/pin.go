package main

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// pinned keeps this process to the last processor that it may use and returns the others, none where
// there is only one. Threads that start later inherit it.
func pinned() ([]int, error) {
	var may unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil {
		return nil, fmt.Errorf("affinity: %w", err)
	}
	var all []int
	for i := range 8 * len(may) * 8 {
		if may.IsSet(i) {
			all = append(all, i)
		}
	}
	if len(all) < 2 {
		return nil, nil
	}
	var own unix.CPUSet
	own.Set(all[len(all)-1])
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return nil, err
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			return nil, err
		}
		if err := unix.SchedSetaffinity(id, &own); err != nil {
			return nil, fmt.Errorf("affinity of a thread: %w", err)
		}
	}
	return all[:len(all)-1], nil
}
