package doctor

import (
	"errors"
	"fmt"
)

func blockChecks() []Check {
	return []Check{
		{
			ID: "write", For: []Consumer{Everybody, Multipath}, scope: ofUnit, needs: writing, run: checkWrite,
			Title:  "what one host writes, by WRITE (10) and (16), another host reads at once, and nothing beside it changes",
			Breaks: "everything: hosts see old or foreign data",
			Remedy: "take the target out of use",
		}, {
			ID: "fua", For: []Consumer{Everybody}, scope: ofUnit, needs: writing, run: checkFUA,
			Title:  "WRITE with FUA is there if the unit says so (DPOFUA)",
			Breaks: "journals of file systems are written with FUA: the mount fails, or goes read only",
			Remedy: "update the target; hosts can be told: `echo 'write through' > /sys/block/sdX/device/scsi_disk/*/cache_type`",
		}, {
			ID: "write-digest", For: []Consumer{OpenISCSI}, scope: ofUnit, needs: writing, run: checkWriteDigest,
			Title:  "of a WRITE whose data digest is wrong nothing is written",
			Breaks: "bytes that the network corrupts are written to the disk, though digests are on",
			Remedy: "do not rely on digests of this target; update it",
		},
	}
}

func checkWrite(x *examination) (string, error) {
	s, err := x.scratch()
	if err != nil {
		return "", err
	}
	frame := pattern(4*s.size, 1)
	if err := x.a.write(s.lba, frame); err != nil {
		return "", err
	}
	if err := x.b.holds("written by WRITE, read by another session", s.lba, frame); err != nil {
		return "", err
	}
	one := pattern(2*s.size, 2)
	if _, err := x.b.run("WRITE (16)", blockCDB(0x8a, 0, s.lba+1, 2), one, 0); err != nil {
		return "", err
	}
	copy(frame[s.size:], one)
	if err := x.a.holds("written by WRITE (16), read by another session", s.lba, frame); err != nil {
		return "", err
	}
	// More than goes unasked, so that R2Ts come.
	large := pattern(pieceBytes, 3)
	if err := x.a.write(s.lba, large[:min(pieceBytes, 0xffff*s.size)]); err != nil {
		return "", fmt.Errorf("1 MiB: %w", err)
	}
	for at := 0; at < s.blocks; at += transferBytes / s.size {
		n := min(transferBytes, pieceBytes-at*s.size)
		if err := x.b.holds("1 MiB at once", s.lba+uint64(at), large[at*s.size:][:n]); err != nil {
			return "", err
		}
	}
	return "", nil
}

func checkFUA(x *examination) (string, error) {
	s, err := x.scratch()
	if err != nil {
		return "", err
	}
	parameter, _, err := x.modeSense6()
	if err != nil {
		return "", err
	}
	if parameter&0x10 == 0 {
		return "", notChecked("the unit says that it has no FUA")
	}
	data := pattern(s.size, 4)
	if _, err := x.a.run("WRITE (10) with FUA", blockCDB10(0x2a, 0x08, s.lba, 1), data, 0); s.lba < 1<<32 && err != nil {
		return "", err
	}
	if _, err := x.a.run("WRITE (16) with FUA", blockCDB(0x8a, 0x08, s.lba, 1), data, 0); err != nil {
		return "", err
	}
	got, err := x.b.run("READ (16) with FUA", blockCDB(0x88, 0x08, s.lba, 1), nil, s.size)
	if err != nil {
		return "", err
	}
	if string(got) != string(data) {
		return "", errors.New("it reads back as something else")
	}
	return "", nil
}
