package cuda

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// ledger is a file in which a device's faults are counted by their numbers. Every process that serves on
// the device learns of each of them: the one that has the file to itself writes them down, all read it,
// and it outlives them.
type ledger struct{ file *os.File }

const (
	ledgerEntries = 24 // of different faults; those beyond are counted as unknown
	entryBytes    = 16
	unknownFault  = 999 // as the driver says
)

// entry is a fault and how often it has been.
type entry struct{ xid, count uint64 }

// openLedger opens the ledger of a device in a folder that many may write to.
func openLedger(folder, device string) (*ledger, error) {
	name := filepath.Join(folder, fmt.Sprintf("thrum-xids-%d-%s", os.Geteuid(), device))
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || int(info.Sys().(*syscall.Stat_t).Uid) != os.Geteuid()) {
		err = fmt.Errorf("%s is no file of this user's", name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &ledger{f}, nil
}

// take takes the ledger for this process, and says whether it has it.
func (l *ledger) take() bool {
	return unix.Flock(int(l.file.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
}

// read returns what has been counted.
func (l *ledger) read() ([]entry, error) {
	var mem [ledgerEntries * entryBytes]byte
	n, err := l.file.ReadAt(mem[:], 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	var all []entry
	for at := 0; at+entryBytes <= n; at += entryBytes {
		all = append(all, entry{binary.LittleEndian.Uint64(mem[at:]), binary.LittleEndian.Uint64(mem[at+8:])})
	}
	return all, err
}

// add counts a fault. The ledger has been taken.
func (l *ledger) add(xid uint64) error {
	all, err := l.read()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(e entry) bool { return e.xid == xid })
	switch {
	case i < 0 && len(all) >= ledgerEntries-1 && xid != unknownFault: // whose place is the last one
		return l.add(unknownFault)
	case i < 0:
		i, all = len(all), append(all, entry{xid: xid})
	}
	mem := binary.LittleEndian.AppendUint64(nil, xid)
	mem = binary.LittleEndian.AppendUint64(mem, all[i].count+1)
	_, err = l.file.WriteAt(mem, int64(i*entryBytes))
	return err
}

func (l *ledger) close() error { return l.file.Close() }
