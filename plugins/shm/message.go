package shm

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
)

// What crosses the socket, with the fields that each uses.
const (
	messageArena  = 1 + iota // to the plugin: a file is arena, slots of size bytes
	messageDrop              // to the plugin: arena is used no more
	messageCancel            // to the plugin: nobody waits for call generation in slot of arena
	messageMapped            // to the host: arena is mapped
	messageFailed            // to the host: arena could not be mapped
)

const messageBytes = 24

type message struct {
	kind  uint32
	arena uint32
	slot  uint32 // the number of slots, of messageArena
	size  uint64 // the generation, of messageCancel
}

func (m message) send(c *net.UnixConn, f *os.File) error {
	b := make([]byte, messageBytes)
	binary.LittleEndian.PutUint32(b[0:], m.kind)
	binary.LittleEndian.PutUint32(b[4:], m.arena)
	binary.LittleEndian.PutUint32(b[8:], m.slot)
	binary.LittleEndian.PutUint64(b[16:], m.size)
	return sendFile(c, b, f)
}

// receiveMessage returns the file that came along, which is the caller's to close, or nil.
func receiveMessage(c *net.UnixConn) (message, *os.File, error) {
	b := make([]byte, messageBytes+1) // a longer one shows
	n, f, err := receiveFile(c, b)
	if err != nil {
		return message{}, nil, err
	}
	if n != messageBytes {
		if f != nil {
			_ = f.Close()
		}
		return message{}, nil, fmt.Errorf("a message of %d bytes", n)
	}
	return message{
		kind:  binary.LittleEndian.Uint32(b[0:]),
		arena: binary.LittleEndian.Uint32(b[4:]),
		slot:  binary.LittleEndian.Uint32(b[8:]),
		size:  binary.LittleEndian.Uint64(b[16:]),
	}, f, nil
}
