package target

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	ram "github.com/isantarget/isantarget/backstore/memory"
	"github.com/isantarget/isantarget/iscsi"
)

// attack sends wire over a new connection of r, ends it, and reads what comes back, which
// must be whole PDUs. A panic of the target ends the process.
func (r *rig) attack(t *testing.T, wire []byte) (answers []iscsi.BHS) {
	conn, err := net.Dial("tcp", r.conn.RemoteAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	go func() {
		_, _ = conn.Write(wire) // the target may have ended the connection
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	for {
		var h iscsi.BHS
		if _, err := io.ReadFull(conn, h[:]); err != nil {
			var late net.Error
			if errors.As(err, &late) && late.Timeout() {
				t.Fatal("the target neither answers nor ends the connection")
			}
			return answers
		}
		n := h.DataSegmentLength()
		if _, err := io.CopyN(io.Discard, conn, int64(n+iscsi.Pad(n))); err != nil {
			return answers
		}
		answers = append(answers, h)
	}
}

func newFuzzRig(f *testing.F) *rig {
	store, err := ram.New(1 << 20)
	if err != nil {
		f.Fatal(err)
	}
	return newRigOn(f, store)
}

// FuzzLogin is the login as a whole: requests with any flags and any text, in any order.
// An input is requests: flags, length of the text, text. Nobody gets in without a name.
func FuzzLogin(f *testing.F) {
	request := func(flags byte, keys string) []byte {
		text := bytes.ReplaceAll([]byte(keys), []byte("\n"), []byte{0})
		return append(binary.BigEndian.AppendUint16([]byte{flags}, uint16(len(text))), text...)
	}
	const names = "InitiatorName=iqn.2026-11.test:fuzz\nTargetName=" + rigName + "\n"
	f.Add(request(0x87, names))
	f.Add(append(request(0x04, names+"HeaderDigest=CRC32C,None\nDataDigest=None\n"), request(0x87, "MaxBurstLength=0x10000\nFirstBurstLength=512\nMaxConnections=9\n")...))
	f.Add(append(request(0x81, names+"AuthMethod=CHAP,None\n"), request(0x87, "ErrorRecoveryLevel=2\nIFMarker=Yes\nX-com.example=1\n")...))
	f.Add(append(request(0x40, "InitiatorName=iqn.2026-11.test:fu"), request(0x87, "zz\nSessionType=Discovery\n")...))
	f.Add(append(request(0x80, names+"AuthMethod=None\nTargetAlias=x\n"), request(0x03, "CHAP_A=5\n")...))
	r := newFuzzRig(f)
	f.Fuzz(func(t *testing.T, input []byte) {
		var wire []byte
		for n := 0; len(input) >= 3 && n < 8; n++ {
			flags, length := input[0], int(binary.BigEndian.Uint16(input[1:]))
			text := input[3:min(len(input), 3+length)]
			input = input[3+len(text):]
			var h iscsi.BHS
			p := iscsi.LoginRequest{ISID: iscsi.ISID{0x80, 0, 9}, InitiatorTaskTag: 1, CmdSN: 1}
			p.Marshal(&h)
			h[1] = flags
			h.SetDataSegmentLength(len(text))
			wire = append(append(append(wire, h[:]...), text...), make([]byte, iscsi.Pad(len(text)))...)
		}
		for _, h := range r.attack(t, wire) {
			var p iscsi.LoginResponse
			if h.Opcode() != iscsi.OpLoginResponse {
				continue // of the full feature phase
			}
			if err := p.Unmarshal(&h); err != nil {
				t.Errorf("% x: %v", h[:], err)
			}
			if p.Status == iscsi.LoginSuccess && p.Transit && p.NSG == iscsi.FullFeaturePhase && !bytes.Contains(wire, []byte("InitiatorName")) {
				t.Error("a login without a name succeeds")
			}
		}
	})
}

// FuzzFullFeaturePhase: any bytes behind a login.
func FuzzFullFeaturePhase(f *testing.F) {
	var h iscsi.BHS
	command := iscsi.SCSICommand{Final: true, Read: true, Attribute: iscsi.AttributeSimple, InitiatorTaskTag: 2, Length: 512, CmdSN: 1}
	command.CDB[0], command.CDB[8] = 0x28, 1
	command.Marshal(&h)
	f.Add(h[:])
	write := iscsi.SCSICommand{Write: true, Attribute: iscsi.AttributeOrdered, InitiatorTaskTag: 3, Length: 4096, CmdSN: 1}
	write.CDB[0], write.CDB[8] = 0x2a, 8
	write.Marshal(&h)
	out := iscsi.DataOut{Final: true, InitiatorTaskTag: 3, TargetTransferTag: iscsi.ReservedTag}
	var d iscsi.BHS
	out.Marshal(&d)
	d.SetDataSegmentLength(4)
	f.Add(append(append(bytes.Clone(h[:]), d[:]...), 1, 2, 3, 4))
	manage := iscsi.TaskManagementRequest{Immediate: true, Function: iscsi.AbortTask, InitiatorTaskTag: 4, ReferencedTaskTag: 3, CmdSN: 2}
	manage.Marshal(&d)
	f.Add(append(bytes.Clone(h[:]), d[:]...))
	text := iscsi.TextRequest{Final: true, Immediate: true, InitiatorTaskTag: 5, TargetTransferTag: iscsi.ReservedTag, CmdSN: 1}
	text.Marshal(&d)
	d.SetDataSegmentLength(16)
	f.Add(append(bytes.Clone(d[:]), "SendTargets=All\x00"...))
	ping := iscsi.NopOut{Immediate: true, InitiatorTaskTag: 6, TargetTransferTag: iscsi.ReservedTag, CmdSN: 1}
	ping.Marshal(&d)
	f.Add(d[:])
	long := bytes.Clone(h[:])
	long[4] = 2 // additional headers
	f.Add(append(long, 0, 5, 1, 0, 1, 2, 3, 4))
	r := newFuzzRig(f)
	f.Fuzz(func(t *testing.T, input []byte) { r.attack(t, append(r.loginRequest(9), input...)) })
}
