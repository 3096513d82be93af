package doctor

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// uint16At, uint32At and uint64At read a big-endian number; what lies beyond p is zero.
func uint16At(p []byte, at int) uint16 { return uint16(numberAt(p, at, 2)) }
func uint32At(p []byte, at int) uint32 { return uint32(numberAt(p, at, 4)) }
func uint64At(p []byte, at int) uint64 { return numberAt(p, at, 8) }

func numberAt(p []byte, at, n int) (v uint64) {
	for i := range n {
		v = v<<8 | uint64(byteAt(p, at+i))
	}
	return v
}

func byteAt(p []byte, at int) byte {
	if at < len(p) {
		return p[at]
	}
	return 0
}

// standard stands for standard INQUIRY data among the pages.
const standard = -1

// inquiry is standard INQUIRY data or a VPD page of the unit, kept from its first reading
// (SPC-4 6.6). A page is as long as it says.
func (x *examination) inquiry(page int) ([]byte, error) {
	if data, ok := x.pages[page]; ok {
		return data, nil
	}
	data, err := x.inquiryOf(x.a, page)
	if err == nil {
		x.pages[page] = data
	}
	return data, err
}

func (x *examination) inquiryOf(n *nexus, page int) ([]byte, error) {
	if page == standard {
		data, err := n.run("INQUIRY", []byte{0x12, 0, 0, 0, 255, 0}, nil, 255)
		if err == nil && len(data) < 36 {
			return nil, fmt.Errorf("standard INQUIRY data of %d bytes; 36 is the least", len(data))
		}
		return data, err
	}
	const most = 4096
	name := fmt.Sprintf("INQUIRY, VPD page %02Xh", page)
	data, err := n.run(name, []byte{0x12, 1, byte(page), most >> 8, most & 0xff, 0}, nil, most)
	switch {
	case err != nil:
		return nil, err
	case len(data) < 4 || int(data[1]) != page:
		return nil, fmt.Errorf("%s: what came is no such page (%d bytes)", name, len(data))
	case int(uint16At(data, 2)) > len(data)-4:
		return nil, fmt.Errorf("%s: PAGE LENGTH %d with %d bytes behind it", name, uint16At(data, 2), len(data)-4)
	}
	return data[:4+int(uint16At(data, 2))], nil
}

// A designator is one descriptor of VPD page 83h (SPC-4 7.8.6).
type designator struct {
	association, kind, codeSet byte
	id                         []byte
}

// The associations and types of designators that come up.
const (
	ofLogicalUnit = 0
	ofTargetPort  = 1

	kindT10       = 1
	kindEUI64     = 2
	kindNAA       = 3
	kindPort      = 4 // relative target port
	kindPortGroup = 5 // target port group
	kindSCSIName  = 8
)

// designators takes VPD page 83h apart.
func designators(page []byte) (all []designator, err error) {
	p := page[min(4, len(page)):]
	for len(p) > 0 {
		if len(p) < 4 || len(p) < 4+int(p[3]) {
			return all, errors.New("VPD page 83h: a designator reaches beyond the page")
		}
		all = append(all, designator{association: p[1] >> 4 & 3, kind: p[1] & 0xf, codeSet: p[0] & 0xf, id: p[4 : 4+int(p[3])]})
		p = p[4+int(p[3]):]
	}
	return all, nil
}

// identity is what names the unit world-wide: its NAA, EUI-64 and T10 designators in a
// form that can be compared and shown.
func identity(page []byte) (names []string, err error) {
	all, err := designators(page)
	for _, d := range all {
		if d.association != ofLogicalUnit {
			continue
		}
		switch d.kind {
		case kindNAA:
			names = append(names, fmt.Sprintf("naa.%x", d.id))
		case kindEUI64:
			names = append(names, fmt.Sprintf("eui.%x", d.id))
		case kindT10:
			names = append(names, "t10."+strings.TrimSpace(string(d.id)))
		case kindSCSIName:
			names = append(names, string(bytes.TrimRight(d.id, "\x00")))
		}
	}
	slices.Sort(names)
	return slices.Compact(names), err
}

// binaryName is the NAA or EUI-64 name of the unit; empty: it has none.
func binaryName(page []byte) (designator, error) {
	all, err := designators(page)
	for _, d := range all {
		if d.association == ofLogicalUnit && (d.kind == kindNAA && (len(d.id) == 8 || len(d.id) == 16) || d.kind == kindEUI64 && (len(d.id) == 8 || len(d.id) == 12 || len(d.id) == 16)) {
			return d, err
		}
	}
	return designator{}, err
}

// A capacity is how large a unit is, and what READ CAPACITY (16) tells besides.
type capacity struct {
	blocks    uint64
	size      int // of a block, bytes
	long      bool
	thin      bool // LBPME
	zeroes    bool // LBPRZ
	shortSaid uint32
}

// capacity is what READ CAPACITY (16) says or, where there is none, READ CAPACITY (10).
func (x *examination) capacity() (*capacity, error) {
	if x.blocks != nil {
		return x.blocks, nil
	}
	short, err := x.a.run("READ CAPACITY (10)", []byte{0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0}, nil, 8)
	if err != nil {
		return nil, err
	}
	long, err := x.a.run("READ CAPACITY (16)", []byte{0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0}, nil, 32)
	switch {
	case err != nil && !answered(err):
		return nil, err
	case err != nil:
		long = nil
	}
	c, err := capacityOf(short, long)
	if err != nil {
		return nil, err
	}
	x.blocks = c
	return c, nil
}

// capacityOf reads the parameter data of READ CAPACITY (10) and, where there is any, (16) (SBC-3
// 5.15, 5.16). What cannot be counted in bytes is refused.
func capacityOf(short, long []byte) (*capacity, error) {
	if len(short) < 8 {
		return nil, fmt.Errorf("READ CAPACITY (10): %d bytes of 8", len(short))
	}
	var c capacity
	c.shortSaid = uint32At(short, 0)
	c.blocks, c.size = uint64(c.shortSaid)+1, int(uint32At(short, 4))
	if len(long) >= 12 {
		c.blocks, c.size, c.long = uint64At(long, 0)+1, int(uint32At(long, 8)), true
		c.thin, c.zeroes = byteAt(long, 14)&0x80 != 0, byteAt(long, 14)&0x40 != 0
	}
	if c.size < 256 || c.size > 1<<16 || c.blocks == 0 || c.blocks > math.MaxInt64/uint64(c.size) {
		return nil, fmt.Errorf("READ CAPACITY: %d blocks of %d bytes cannot be", c.blocks, c.size)
	}
	return &c, nil
}

// blockCDB is a CDB of 16 bytes with a logical block address and a number of blocks.
func blockCDB(opcode, flags byte, lba uint64, blocks int) []byte {
	cdb := make([]byte, 16)
	cdb[0], cdb[1] = opcode, flags
	binary.BigEndian.PutUint64(cdb[2:], lba)
	binary.BigEndian.PutUint32(cdb[10:], uint32(blocks))
	return cdb
}

// blockCDB10 is the same in 10 bytes. lba and blocks must fit.
func blockCDB10(opcode, flags byte, lba uint64, blocks int) []byte {
	cdb := make([]byte, 10)
	cdb[0], cdb[1] = opcode, flags
	binary.BigEndian.PutUint32(cdb[2:], uint32(lba))
	binary.BigEndian.PutUint16(cdb[7:], uint16(blocks))
	return cdb
}

// form chooses the CDB of 10 bytes where it reaches, for every target has it.
func form(short, long, flags byte, lba uint64, blocks int) []byte {
	if lba+uint64(blocks) <= 1<<32 {
		return blockCDB10(short, flags, lba, blocks)
	}
	return blockCDB(long, flags, lba, blocks)
}

// read gives blocks, which must all come.
func (n *nexus) read(lba uint64, blocks int) ([]byte, error) {
	c, err := n.x.capacity()
	if err != nil {
		return nil, err
	}
	want := blocks * c.size
	p, err := n.run("READ", form(0x28, 0x88, 0, lba, blocks), nil, want)
	if err == nil && len(p) != want {
		return nil, fmt.Errorf("READ of %d bytes brought %d", want, len(p))
	}
	return p, err
}

// write writes whole blocks.
func (n *nexus) write(lba uint64, p []byte) error {
	c, err := n.x.capacity()
	if err != nil {
		return err
	}
	_, err = n.run("WRITE", form(0x2a, 0x8a, 0, lba, len(p)/c.size), p, 0)
	return err
}

// holds fails unless the blocks read as want, through this nexus.
func (n *nexus) holds(what string, lba uint64, want []byte) error {
	c, err := n.x.capacity()
	if err != nil {
		return err
	}
	got, err := n.read(lba, len(want)/c.size)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		at := 0
		for at < len(got) && got[at] == want[at] {
			at++
		}
		return fmt.Errorf("%s: block %d has other data than it should (from its byte %d on)", what, lba+uint64(at/c.size), at%c.size)
	}
	return nil
}

// pattern is n bytes that no disk has by chance.
func pattern(n int, seed byte) []byte {
	p := make([]byte, n)
	v := uint64(seed)*0x9e3779b97f4a7c15 + 1
	for i := range p {
		v ^= v << 13
		v ^= v >> 7
		v ^= v << 17
		p[i] = byte(v)
	}
	return p
}

// knows asks by REPORT SUPPORTED OPERATION CODES whether a command is there (SPC-4 6.35).
// The error says that nobody knows.
func (x *examination) knows(opcode byte, action int) (bool, error) {
	cdb := []byte{0xa3, 0x0c, 1, opcode, 0, 0, 0, 0, 1, 0, 0, 0}
	if action >= 0 {
		cdb[2] = 2
		binary.BigEndian.PutUint16(cdb[4:], uint16(action))
	}
	data, err := x.a.run("REPORT SUPPORTED OPERATION CODES", cdb, nil, 256)
	if unsupported(err) && action >= 0 {
		return false, nil // an operation code without service actions, or none at all
	}
	if err != nil {
		return false, err
	}
	support := byteAt(data, 1) & 7
	return support == 3 || support == 5, nil
}
