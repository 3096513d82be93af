package initiator

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/isantarget/isantarget/iscsi"
)

// stream makes of a script the PDUs of a target. A piece of it has a byte of flags, the length of
// the data, an operation code, the second byte of the header, and the data. With flag 1 the header
// is what follows; else it is one that answers as it should: the request with the same tag as
// before or, with flag 2, the next one.
func stream(script []byte) (wire []byte) {
	take := func(n int) []byte {
		p := script[:min(n, len(script))]
		script = script[len(p):]
		return p
	}
	tag := new(Session).NextTag()
	for sn := uint32(1); len(script) > 0; sn++ {
		var head [4]byte
		copy(head[:], take(len(head)))
		if head[0]&2 != 0 {
			tag++
		}
		p := &PDU{}
		if head[0]&1 != 0 {
			copy(p.BHS[:], take(iscsi.BHSLength))
		} else {
			binary.BigEndian.PutUint32(p.BHS[16:], tag)
			binary.BigEndian.PutUint32(p.BHS[20:], iscsi.ReservedTag)
			binary.BigEndian.PutUint32(p.BHS[24:], sn)
			binary.BigEndian.PutUint32(p.BHS[28:], 1)
			binary.BigEndian.PutUint32(p.BHS[32:], 64)
		}
		p.BHS[0], p.BHS[1] = head[2], head[3]
		if head[0]&1 == 0 && p.BHS.Opcode() == iscsi.OpLoginResponse {
			p.BHS[8], p.BHS[15] = 0x80, 1 // ISID and TSIH
		}
		p.Data = take(int(head[1]))
		wire = append(wire, p.Encode(Digests{}, 0)...)
	}
	return wire
}

func said(flags byte, opcode iscsi.Opcode, second byte, data string) []byte {
	return append([]byte{flags, byte(len(data)), byte(opcode), second}, data...)
}

// FuzzTarget: whatever a target says, an initiator neither breaks nor waits for more than comes,
// and has no more data than it asked for.
func FuzzTarget(f *testing.F) {
	toOperational, toFull := byte(0x81), byte(0x87)
	login := append(said(0, iscsi.OpLoginResponse, toOperational, "AuthMethod=None\x00TargetPortalGroupTag=1\x00"),
		said(0, iscsi.OpLoginResponse, toFull, "MaxRecvDataSegmentLength=8192\x00HeaderDigest=None\x00MaxBurstLength=0\x00")...)
	f.Add(append(append(login[:len(login):len(login)], said(2, iscsi.OpTextResponse, 0x80, "TargetName=iqn.a:b\x00TargetAddress=[::1]:3260,1\x00")...), said(2, iscsi.OpDataIn, 0x81, "0123456789")...), true)
	f.Add(append(append(login[:len(login):len(login)], said(2, iscsi.OpTextResponse, 0x40, "TargetName=iqn.a:b")...), said(0, iscsi.OpTextResponse, 0x80, "\x00TargetAddress=a\x00")...), false)
	f.Add(append(append(login[:len(login):len(login)], said(2, iscsi.OpTextResponse, 0x80, "TargetAddress=a\x00=\x00\x00")...), said(2, iscsi.OpSCSIResponse, 0x80, "\x00\x12\x70\x00\x05")...), true)
	f.Add(said(0, iscsi.OpLoginResponse, 0x40, "CHAP_A=5\x00CHAP_"), true)
	f.Add(append(said(0, iscsi.OpLoginResponse, 0x00, "AuthMethod=CHAP\x00"), said(0, iscsi.OpLoginResponse, 0x00, "CHAP_A=5\x00CHAP_I=7\x00CHAP_C=0x00\x00")...), true)
	f.Add(said(0, iscsi.OpReject, 0x80, "bad"), true)
	f.Add(append(login[:len(login):len(login)], append(said(0, iscsi.OpNopIn, 0x80, "ping"), said(0, iscsi.OpAsyncMessage, 0x80, "\xff\xff")...)...), true)
	f.Fuzz(func(t *testing.T, says []byte, forgive bool) {
		near, far := net.Pipe()
		var target sync.WaitGroup
		target.Go(func() { _, _ = io.Copy(io.Discard, far) })
		target.Go(func() {
			_, _ = far.Write(stream(says))
			far.Close()
		})
		until := time.Now().Add(20 * time.Second)
		c := newConnection(near, Options{Timeout: 20 * time.Second, Until: until, Forgive: forgive})
		defer func() {
			c.Close()
			target.Wait()
			if !time.Now().Before(until) {
				t.Error("it waited for what does not come")
			}
		}()
		l := Login{InitiatorName: "iqn.a:i", TargetName: "iqn.a:b", ISID: iscsi.ISID{0x80}, Keys: []iscsi.KeyValue{{Key: "HeaderDigest", Value: "None"}}, CHAP: &CHAP{User: "u", Secret: "a secret of twelve"}}
		if forgive {
			l.CHAP = nil
		}
		if c.Login(l) != nil {
			return
		}
		_, _ = c.SendTargets("All")
		for _, cdb := range [][]byte{{0x12, 0, 0, 0, 36, 0}, {0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 36, 0, 0}} {
			r, err := c.Execute(Command{CDB: cdb, Read: 36})
			if err != nil {
				return
			}
			r.SenseCode()
			if len(r.Data) > 36 {
				t.Errorf("%d bytes of 36", len(r.Data))
			}
		}
		_, _ = c.Execute(Command{CDB: []byte{0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0}, Write: make([]byte, 512)})
	})
}
