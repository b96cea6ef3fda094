package plugins

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/plugins/shm"
)

// defaultMaxRows is how many rows room is made for where nothing is known.
const defaultMaxRows = 64

// defaultMaxMemory bounds the shared memory of one model.
const defaultMaxMemory = 1 << 30

// maxReserve bounds what is reserved for a model before it has seen a batch.
const maxReserve = 64 << 20

// shared is the memory through which the batches of a model cross.
type shared struct {
	pool    *shm.Pool
	handle  uint64
	bound   int          // bytes
	row     int          // bytes that a row of the answer takes by the signature
	learned atomic.Int64 // bytes that one has taken lately, the larger ones above all
}

// newShared makes room for a few batches of so many rows.
func newShared(h *shm.Host, handle uint64, s backends.Signature, maxRows, maxMemory int) (*shared, error) {
	if maxRows == 0 || !s.Batched {
		maxRows = defaultMaxRows
	}
	if !s.Batched {
		maxRows = 1
	}
	m := &shared{pool: h.NewPool(maxMemory), bound: maxMemory, handle: handle, row: rowBytes(s.Outputs)}
	slot := min(maxRows*(rowBytes(s.Inputs)+m.row), maxReserve) + headRoom(s.Inputs) + headRoom(s.Outputs)
	slots := max(2, min(4, maxReserve/slot))
	if err := m.pool.Reserve(slots, slot); err != nil && !errors.Is(err, shm.ErrTooLarge) {
		return nil, err
	}
	return m, nil
}

// headRoom is what heads and gaps take.
func headRoom(specs []backends.TensorSpec) int { return 512 + 128*len(specs) }

// rowBytes returns how much a row of all these tensors takes, as a guess where a dimension or an
// element varies.
func rowBytes(specs []backends.TensorSpec) int {
	const varies, text = 16, 32
	total := 0
	for _, s := range specs {
		n := max(s.Datatype.Size(), 1)
		if s.Datatype == backends.Bytes {
			n = text
		}
		for i, d := range s.Shape {
			switch {
			case d < 0 && i > 0:
				n *= varies
			case d > 0:
				n = int(min(int64(n)*min(d, maxReserve), maxReserve))
			}
		}
		total = min(total+n, maxReserve)
	}
	return total
}

// exchange has the plugin answer parts, whose tensors have passed the signature's Check. An answer
// that does not belong to them is an errAnswer.
func (m *shared) exchange(ctx context.Context, s *backends.Signature, parts []backends.Batch) (backends.Batch, error) {
	var tensors [usualTensors]frameTensor
	f := frameOf(s, parts, tensors[:0])
	if n := f.headBytes(); n > maxHead {
		return backends.Batch{}, backends.Errorf(backends.ErrTooLarge, "%d bytes of shapes and parameters, at most %d: send fewer or shorter parameters", n, maxHead)
	}
	rows := 1
	if s.Batched {
		rows = int(f.tensors[0].shape[0])
	}
	request := alignData(f.bytes())
	reply := headRoom(s.Outputs) + m.estimate(rows, m.bound/2-request)
	for {
		slot, err := m.pool.Acquire(ctx, request+reply)
		if err != nil {
			return backends.Batch{}, err
		}
		var places [usualTensors][]byte
		layParts(f.lay(slot.Bytes(), places[:0]), parts)
		r, err := slot.Call(ctx, m.handle, f.bytes())
		if err != nil {
			return backends.Batch{}, err
		}
		if r.Code != codeMoreRoom {
			m.learn(len(r.Data) / max(rows, 1))
			return m.read(slot, r, s, parts[0].Outputs, rows)
		}
		room := len(slot.Bytes()) - request
		slot.Release()
		if r.Tag <= uint64(room) || r.Tag > 1<<40 {
			return backends.Batch{}, fmt.Errorf("%w: %d bytes are too few for an answer of %d", errAnswer, room, r.Tag)
		}
		reply = alignData(int(r.Tag))
	}
}

// estimate returns how many bytes the rows of an answer probably take, and no more than most.
func (m *shared) estimate(rows, most int) int {
	row := max(m.row, int(m.learned.Load()), 1)
	if rows > most/row {
		return max(most, 0)
	}
	return rows * row
}

// learn makes the next answers find the room that they are likely to need: as much as the last
// large one had, and less by and by if those after it are smaller. A lost update does no harm.
func (m *shared) learn(row int) {
	known := m.learned.Load()
	if excess := known - int64(row); excess > 0 {
		row += int(excess - excess/8)
	}
	if int64(row) != known {
		m.learned.Store(int64(row))
	}
}

func layParts(places [][]byte, parts []backends.Batch) {
	for k, place := range places {
		for i := range parts {
			place = place[copy(place, parts[i].Tensors[k].Data):]
		}
	}
}

// errAnswer says that a plugin has answered as none may.
var errAnswer = errors.New("the answer is none to the batch")

// read takes the slot over.
func (m *shared) read(slot *shm.Slot, r shm.Reply, s *backends.Signature, wanted []string, rows int) (backends.Batch, error) {
	if r.Code != codeAnswer {
		text := string(r.Data)
		slot.Release()
		return backends.Batch{}, errorOf(r.Code, text)
	}
	out, err := decode(r.Data, s.Outputs, nil)
	if err == nil {
		err = checkAnswer(*s, wanted, rows, out)
	}
	if err == nil && (out.Outputs != nil || out.Parameters != nil) {
		err = misplaced("an answer with outputs or parameters")
	}
	if err != nil {
		slot.Release()
		return backends.Batch{}, fmt.Errorf("%w: %w", errAnswer, err)
	}
	out.Lease = backends.NewLease(slot.Releaser())
	return out, nil
}
