package protocol_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
)

// TCP knows no PDUs: many may come in one piece and one in many (4.2.9). A mix of
// requests is laid out as one stream and sent in pieces of every size.
func TestPiecesOfStream_RFC7143_4_2_9(t *testing.T) {
	d := serve(t, standard)
	for _, keys := range digestOffers {
		for _, piece := range []int{1, 7, 47, 48, 49, 1000, 1 << 20} {
			p := ready(t, d, offer(append(keys, "ImmediateData=Yes")...))
			s := p.Session
			var stream []byte
			data := noise(uint64(piece), 8)
			var last uint32
			for i := range uint32(8) {
				w := initiator.PDU{Data: data[i*blockSize : (i+1)*blockSize]}
				h := iscsi.SCSICommand{Final: true, Write: true, Attribute: iscsi.AttributeSimple, InitiatorTaskTag: s.NextTag(), Length: blockSize, CmdSN: s.CmdSN}
				copy(h.CDB[:], write10(i, 1))
				h.Marshal(&w.BHS)
				s.CmdSN++
				stream = append(stream, w.Encode(p.Digests, 0)...)
				ping := initiator.PDU{Data: bytes.Repeat([]byte{'p'}, int(i))}
				(&iscsi.NopOut{Immediate: true, InitiatorTaskTag: s.NextTag(), TargetTransferTag: iscsi.ReservedTag, CmdSN: s.CmdSN}).Marshal(&ping.BHS)
				last = ping.BHS.InitiatorTaskTag()
				stream = append(stream, ping.Encode(p.Digests, 0)...)
			}
			for len(stream) > 0 {
				n := min(piece, len(stream))
				if err := p.SendBytes(stream[:n]); err != nil {
					t.Fatal(err)
				}
				stream = stream[n:]
			}
			answers := map[iscsi.Opcode]int{}
			for range 16 {
				pdu, err := p.Receive()
				if err != nil {
					t.Fatalf("pieces of %d: %v after %v", piece, err, answers)
				}
				answers[pdu.BHS.Opcode()]++
				p.ExpStatSN++
				if pdu.BHS.InitiatorTaskTag() == last && string(pdu.Data) != "ppppppp" {
					t.Errorf("the last ping brings %q", pdu.Data)
				}
			}
			if answers[iscsi.OpSCSIResponse] != 8 || answers[iscsi.OpNopIn] != 8 {
				t.Errorf("pieces of %d: %v", piece, answers)
			}
			if got := p.good(initiator.Command{CDB: read10(0, 8), Read: len(data)}); !bytes.Equal(got.Data, data) {
				t.Errorf("pieces of %d: other data comes back", piece)
			}
		}
	}
}

// Sessions side by side, each with two connections and commands of all kinds in
// flight, over blocks of their own: each reads what it wrote last.
func TestManySessions(t *testing.T) {
	d := serve(t, standard)
	t.Run("sessions", func(t *testing.T) {
		for n := range uint64(8) {
			t.Run(fmt.Sprint(n), func(t *testing.T) {
				t.Parallel()
				rng := rand.New(rand.NewPCG(n, 1))
				keys := []string{"MaxConnections=2", "InitialR2T=" + iscsi.FormatBoolean(n&1 == 0), "ImmediateData=" + iscsi.FormatBoolean(n&2 == 0),
					"MaxBurstLength=8192", "FirstBurstLength=4096", "MaxOutstandingR2T=4"}
				l := offer(append(keys, digestOffers[[]string{"none", "header", "data", "both"}[n%4]]...)...)
				l.InitiatorName = fmt.Sprintf("%s-%d", alice, n)
				p := ready(t, d, l)
				both := []*peer{p, p.join(d, 1, initiator.Login{})}
				model := make([]byte, 4096*blockSize)
				base := uint32(n) * 4096
				for range 60 {
					exchangeBatch(t, rng, both, base, model)
				}
			})
		}
	})
}

// exchangeBatch has a batch of writes to different places in flight, over both
// connections, and then reads some of it back.
func exchangeBatch(t *testing.T, rng *rand.Rand, both []*peer, base uint32, model []byte) {
	t.Helper()
	type pending struct {
		over *peer
		task *initiator.Task
	}
	var batch []pending
	for slot := range uint32(8) { // a slot of 512 blocks each, so that no two overlap
		blocks := 1 + rng.IntN(200)
		at := slot*512 + uint32(rng.IntN(512-blocks))
		data := noise(rng.Uint64(), blocks)
		copy(model[at*blockSize:], data)
		over := both[rng.IntN(2)]
		// SIMPLE all: an ORDERED command would wait for older ones whose R2T nobody
		// answers while the script waits for its end.
		batch = append(batch, pending{over, over.start(write(base+at, data))})
	}
	for _, b := range batch {
		b.over.wait(b.task)
	}
	for range 4 {
		blocks := 1 + rng.IntN(300)
		at := uint32(rng.IntN(4096 - blocks))
		over := both[rng.IntN(2)]
		got := over.good(initiator.Command{CDB: read10(base+at, uint16(blocks)), Read: blocks * blockSize})
		if !bytes.Equal(got.Data, model[at*blockSize:int(at)*blockSize+blocks*blockSize]) {
			t.Fatalf("blocks %d to %d: other data comes back", at, int(at)+blocks)
		}
	}
}
