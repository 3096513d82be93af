package iscsi

import "testing"

// What a target does for each READ and WRITE, PDU by PDU.

func BenchmarkSCSICommandUnmarshal(b *testing.B) {
	h := hexBHS(b, scsiCommandWire)
	var p SCSICommand
	for b.Loop() {
		if err := p.Unmarshal(&h); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDataInMarshal(b *testing.B) {
	p := DataIn{Final: true, HasStatus: true, InitiatorTaskTag: 1, TargetTransferTag: ReservedTag}
	var h BHS
	for b.Loop() {
		p.StatSN++
		p.Marshal(&h)
		h.SetDataSegmentLength(4096)
	}
}

func BenchmarkDataOutUnmarshal(b *testing.B) {
	h := hexBHS(b, dataOutWire)
	var p DataOut
	for b.Loop() {
		if err := p.Unmarshal(&h); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDigest(b *testing.B) {
	for _, c := range []struct {
		name  string
		bytes int
	}{{"header", BHSLength}, {"4KiB", 4 << 10}, {"256KiB", 256 << 10}} {
		b.Run(c.name, func(b *testing.B) {
			p := make([]byte, c.bytes)
			b.SetBytes(int64(len(p)))
			var d Digest
			for b.Loop() {
				d = d.Update(p)
			}
		})
	}
}

func BenchmarkParseText(b *testing.B) {
	text := AppendText(nil, KeyValue{"InitiatorName", "iqn.1993-08.org.debian:01:3f2a"}, KeyValue{"TargetName", "iqn.2026-11.org.example:disk"},
		KeyValue{"SessionType", "Normal"}, KeyValue{"HeaderDigest", "CRC32C,None"}, KeyValue{"MaxRecvDataSegmentLength", "262144"})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseText(text, TextLimits{}); err != nil {
			b.Fatal(err)
		}
	}
}
