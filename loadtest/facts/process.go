package facts

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of times in /proc on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// process is what /proc says of one.
type process struct {
	parent int
	cpu    time.Duration
	memory uint64
}

// OfProcess returns CPU time, memory and open files of a process and all that it has started, and
// that those have. Memory that several share counts for each of them.
func OfProcess(pid int) (Facts, error) {
	all, err := processes()
	if err != nil {
		return Facts{}, err
	}
	if _, ok := all[pid]; !ok {
		return Facts{}, fmt.Errorf("there is no process %d", pid)
	}
	var f Facts
	for id, p := range all {
		if !descends(all, id, pid) {
			continue
		}
		f.CPU += p.cpu
		f.Memory += p.memory
		if files, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(id), "fd")); err == nil {
			f.Files += uint64(len(files))
		}
	}
	return f, nil
}

// descends follows parents; a process that ends while it is read breaks the chain.
func descends(all map[int]process, id, from int) bool {
	for range len(all) {
		if id == from {
			return true
		}
		p, ok := all[id]
		if !ok {
			return false
		}
		id = p.parent
	}
	return false
}

func processes() (map[int]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	all := map[int]process{}
	for _, e := range entries {
		id, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if text, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat")); err == nil {
			if p, ok := parseStat(string(text)); ok {
				all[id] = p
			}
		}
	}
	return all, nil
}

// parseStat reads /proc/<id>/stat. The name of the program, in parentheses, may hold anything.
func parseStat(text string) (process, bool) {
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 22 {
		return process{}, false
	}
	number := func(i int) uint64 { // by proc(5), whose first after the name is field 3
		n, _ := strconv.ParseUint(fields[i-3], 10, 63)
		return n
	}
	return process{
		parent: int(number(4)),
		cpu:    time.Duration(number(14)+number(15)) * tick,
		memory: number(24) * uint64(os.Getpagesize()),
	}, true
}
