package descriptor

import (
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bounceSize bounds the aligned buffer of one unaligned transfer.
const bounceSize = 1 << 20

// Alignment is what direct I/O on a file demands; both are powers of two.
type Alignment struct {
	Memory int // bytes: where a buffer may begin
	Offset int // bytes: where a transfer may begin and end
}

// A direct does transfers of any alignment on a descriptor that takes aligned
// ones only.
type direct struct {
	align  Alignment
	bounce sync.Pool // of *[]byte, aligned

	// edges is held for writing by a write that has to write back bytes that
	// are not its own, and for reading by all other writes: in between none of
	// those bytes can change. It is the one lock here that is held over I/O.
	edges sync.RWMutex
}

func newDirect(align Alignment) *direct {
	t := &direct{align: align}
	t.bounce.New = func() any {
		alignment := max(align.Memory, align.Offset)
		raw := make([]byte, bounceSize+alignment)
		skip := -int(uintptr(unsafe.Pointer(&raw[0]))) & (alignment - 1)
		p := raw[skip : skip+bounceSize]
		return &p
	}
	return t
}

func (t *direct) aligned(off int64, length int) bool {
	return (off|int64(length))&int64(t.align.Offset-1) == 0
}

func (t *direct) inPlace(p []byte, off int64) bool {
	return t.aligned(off, len(p)) && (len(p) == 0 || uintptr(unsafe.Pointer(&p[0]))&uintptr(t.align.Memory-1) == 0)
}

// around is the aligned range about the next piece of [off, off+length) that
// fits the bounce buffer, and how much of the range lies in it.
func (t *direct) around(off int64, length int) (start int64, span, use int) {
	mask := int64(t.align.Offset - 1)
	start = off &^ mask
	use = min(length, bounceSize-int(off-start))
	span = int((off+int64(use)+mask)&^mask - start)
	return start, span, use
}

func (t *direct) read(fd int, p []byte, off int64) (int, error) {
	if t.inPlace(p, off) {
		return readFull(fd, p, off)
	}
	bounce := t.bounce.Get().(*[]byte)
	defer t.bounce.Put(bounce)
	for n := 0; n < len(p); {
		start, span, use := t.around(off+int64(n), len(p)-n)
		skip := int(off + int64(n) - start)
		m, err := readFull(fd, (*bounce)[:span], start)
		got := min(max(m-skip, 0), use)
		n += copy(p[n:], (*bounce)[skip:skip+got])
		if err != nil && got < use {
			return n, err
		}
	}
	return len(p), nil
}

func (t *direct) write(fd int, p []byte, off int64, flags int) (int, error) {
	if !t.aligned(off, len(p)) {
		t.edges.Lock()
		defer t.edges.Unlock()
	} else {
		t.edges.RLock()
		defer t.edges.RUnlock()
		if t.inPlace(p, off) {
			return writeFull(fd, p, off, flags)
		}
	}
	bounce := t.bounce.Get().(*[]byte)
	defer t.bounce.Put(bounce)
	for n := 0; n < len(p); {
		start, span, use := t.around(off+int64(n), len(p)-n)
		skip := int(off + int64(n) - start)
		piece := (*bounce)[:span]
		if err := t.readEdges(fd, piece, start, skip, skip+use); err != nil {
			return n, err
		}
		copy(piece[skip:], p[n:n+use])
		m, err := writeFull(fd, piece, start, flags)
		if err != nil {
			return n + min(max(m-skip, 0), use), err
		}
		n += use
	}
	return len(p), nil
}

// readEdges fills what piece, which lies at start, has before from and after to.
func (t *direct) readEdges(fd int, piece []byte, start int64, from, to int) error {
	block := t.align.Offset
	if from > 0 {
		if _, err := readFull(fd, piece[:block], start); err != nil {
			return err
		}
	}
	last := len(piece) - block
	if to < len(piece) && (last > 0 || from == 0) {
		if _, err := readFull(fd, piece[last:], start+int64(last)); err != nil {
			return err
		}
	}
	return nil
}

// Change calls f, which changes the file by other means than writing (a hole
// punched, say), beside no write that puts back bytes it has read before. The
// descriptor stays open until f returns.
func (d *Descriptor) Change(f func(fd int) error) error {
	if d.direct != nil {
		d.direct.edges.RLock()
		defer d.direct.edges.RUnlock()
	}
	return d.Control(f)
}

// DirectAlignment asks the file system what direct I/O on fd needs; where it
// does not tell, 4096 suits what is in use.
func DirectAlignment(fd int) Alignment {
	var st unix.Statx_t
	err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &st)
	if err != nil || st.Mask&unix.STATX_DIOALIGN == 0 || st.Dio_mem_align == 0 || st.Dio_offset_align == 0 {
		return Alignment{Memory: 4096, Offset: 4096}
	}
	return Alignment{Memory: int(st.Dio_mem_align), Offset: int(st.Dio_offset_align)}
}
