//go:build cuda

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// tellFD is where a process tells the one that has started it what it does, a line for each: what it begins, what it
// finds, and that it has come to the end.
const tellFD = 3

const (
	begins  = "begins"
	agrees  = "agrees"
	refused = "refused"
	differs = "differs"
	ended   = "ended"
)

// patience is how long a model or an operator may take.
const patience = 2 * time.Minute

// progress is what processes have told.
type progress struct {
	count map[string]int
	at    string // what was begun last
	begun int
	ended bool
}

// watch has processes check everything, each from where the one before ended, and returns what this one is to end with.
func watch(self string) int {
	p := progress{count: map[string]int{}}
	for !p.ended {
		before := p.begun
		code, said := p.process(self)
		switch {
		case code == noDevice && p.begun == 0:
			return noDevice
		case !p.ended && p.begun == before:
			fmt.Println("the rest is not checked:", said)
			return 1
		case !p.ended:
			p.count[differs]++
			fmt.Printf("%-60s ENDS THE PROCESS: %s\n", p.at, said)
		}
	}
	fmt.Printf("%d agree, %d are refused, %d differ\n", p.count[agrees], p.count[refused], p.count[differs])
	if p.count[differs] > 0 || p.count[agrees] == 0 {
		return 1
	}
	return 0
}

// process runs one process from where the one before ended, and returns its exit status and what it said last.
func (p *progress) process(self string) (code int, said string) {
	r, w, err := os.Pipe()
	if err != nil {
		return 1, err.Error()
	}
	defer r.Close()
	var end bytes.Buffer
	c := exec.Command(self, append(os.Args[1:len(os.Args):len(os.Args)], "-from", strconv.Itoa(p.begun))...)
	c.Stdout, c.Stderr, c.ExtraFiles = os.Stdout, io.MultiWriter(os.Stderr, &end), []*os.File{w}
	err = c.Start()
	w.Close()
	if err != nil {
		return 1, err.Error()
	}
	late := time.AfterFunc(patience, func() { _ = c.Process.Kill() })
	for lines := bufio.NewScanner(r); lines.Scan(); late.Reset(patience) {
		p.take(lines.Text())
	}
	_ = c.Wait()
	if !late.Stop() {
		return 1, fmt.Sprintf("it has taken more than %v", patience)
	}
	text := strings.TrimSpace(end.String())
	return c.ProcessState.ExitCode(), text[strings.LastIndexByte(text, '\n')+1:]
}

func (p *progress) take(line string) {
	what, name, _ := strings.Cut(line, " ")
	p.count[what]++
	switch what {
	case begins:
		p.begun, p.at = p.begun+1, name
	case ended:
		p.ended = true
	}
}
