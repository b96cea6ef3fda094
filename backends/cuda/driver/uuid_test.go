package driver

import "testing"

func TestUUID(t *testing.T) {
	f := start(t, "devices=2")
	for device := range 2 {
		want := [16]byte{0xab, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, byte(device)}
		if uuid, err := f.UUID(device); err != nil || uuid != want {
			t.Errorf("UUID(%d) = %x, %v, want %x", device, uuid, err, want)
		}
	}
	if uuid, err := f.UUID(2); err == nil {
		t.Errorf("UUID of a device that is not there = %x", uuid)
	}
}
