//go:build race

package shm

// poisons says that released slots are overwritten, so that a read after Release shows.
const poisons = true

func poison(mem []byte) {
	for i := range mem {
		mem[i] = 0xdb
	}
}
