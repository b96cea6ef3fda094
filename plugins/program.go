package plugins

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/thrumserve/thrum/backends"
)

// checksumPrefix names the hash of a checksum.
const checksumPrefix = "sha256:"

// CheckChecksum reports a text that is not a checksum: "sha256:" and 64 hexadecimal digits.
func CheckChecksum(text string) error {
	digits, ok := strings.CutPrefix(text, checksumPrefix)
	sum, err := hex.DecodeString(digits)
	if !ok || err != nil || len(sum) != sha256.Size || digits != strings.ToLower(digits) {
		return backends.Errorf(backends.ErrInvalid, "%q is no checksum: write it like sha256:9f86d0…, with 64 digits in lower case", text)
	}
	return nil
}

// Checksum returns the checksum of a file, such as a plugin's program.
func Checksum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	return checksum(f)
}

func checksum(f *os.File) (string, error) {
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", err
	}
	return checksumPrefix + hex.EncodeToString(hash.Sum(nil)), nil
}

// programFD is where a process finds its own pinned program. It lies beyond what else a plugin
// inherits, so that neither can be taken for the other.
const programFD = 9

// openPinned opens a program if its checksum is want. What the caller then executes must be
// this open file and not the path, which by then may name another.
func openPinned(path, want string) (*os.File, error) {
	path, err := exec.LookPath(path)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	have, err := checksum(f)
	if err == nil && have != want {
		err = fmt.Errorf("%s has the checksum %s, and %s is pinned: put the program back that was pinned, or pin this one", path, have, want)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// programPath is the path of a process' pinned program, once there.
func programPath() string { return fmt.Sprintf("/proc/self/fd/%d", programFD) }
