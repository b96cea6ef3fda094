//go:build linux

// Command emulated is the first and only process of a machine that an emulator makes up: it runs
// the test program beside it, tells its outcome and turns the machine off. See run.sh.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

func main() {
	err := mount()
	if err == nil {
		err = test()
	}
	fmt.Println("outcome:", outcome(err))
	turnOff()
}

// mount mounts what tests may ask the kernel for.
func mount() error {
	for _, m := range []struct{ kind, at string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"}} {
		if err := os.MkdirAll(m.at, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, m.at, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	return nil
}

// test runs /test in /files with the arguments in /arguments, one a line.
func test() error {
	arguments, err := os.ReadFile("/arguments")
	if err != nil {
		return err
	}
	c := exec.Command("/test", strings.Split(strings.TrimSpace(string(arguments)), "\n")...)
	c.Dir = "/files"
	c.Env = []string{"HOME=/tmp", "TMPDIR=/tmp"}
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	return c.Run()
}

func outcome(err error) string {
	if err != nil {
		return err.Error()
	}
	return "passed"
}

// turnOff writes to the port at which Bochs takes its leave; other emulators are asked as hardware
// is.
func turnOff() {
	const drain = 1 // wait until the serial line has sent all
	if err := unix.IoctlSetInt(int(os.Stdout.Fd()), unix.TCSBRK, drain); err != nil {
		fmt.Println("drain:", err)
	}
	if ports, err := os.OpenFile("/dev/port", os.O_WRONLY, 0); err == nil {
		for _, b := range []byte("Shutdown") {
			if _, err := ports.WriteAt([]byte{b}, 0x8900); err != nil {
				break
			}
		}
	}
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Println("power off:", err)
	}
	select {}
}
