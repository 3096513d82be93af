package load

import "encoding/binary"

// sector is the unit in which data is stamped, in bytes.
const sector = 512

// stamps remember what was written last to every block, to know it again when it is read. No two commands in flight
// touch the same block. Blocks that this run has not written are not checked.
type stamps struct {
	run         uint64
	generations []uint32 // of each block; 0: not written
	busy        []bool   // a command in flight touches the block
	checked     uint64
	corrupt     uint64
}

// Each sector begins with who wrote it, its place and the generation.
func (s *stamps) write(p []byte, block int64) {
	s.generations[block]++
	for i := 0; i < len(p); i += sector {
		binary.LittleEndian.PutUint64(p[i:], s.run)
		binary.LittleEndian.PutUint64(p[i+8:], uint64(block*int64(len(p))+int64(i)))
		binary.LittleEndian.PutUint64(p[i+16:], uint64(s.generations[block]))
	}
}

func (s *stamps) check(p []byte, block int64) {
	if s.generations[block] == 0 {
		return
	}
	for i := 0; i < len(p); i += sector {
		s.checked++
		if binary.LittleEndian.Uint64(p[i:]) != s.run || binary.LittleEndian.Uint64(p[i+8:]) != uint64(block*int64(len(p))+int64(i)) ||
			binary.LittleEndian.Uint64(p[i+16:]) != uint64(s.generations[block]) {
			s.corrupt++
		}
	}
}
