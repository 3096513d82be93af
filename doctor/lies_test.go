package doctor

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/provision"
	"github.com/isantarget/isantarget/scsi"
)

// replaced changes text of the PDUs of an operation code that come from the target.
func replaced(opcode iscsi.Opcode, old, text string) *wire {
	return &wire{edit: func(_ int, toTarget bool, p *initiator.PDU) bool {
		if p.BHS.Opcode() == opcode {
			p.Data = bytes.ReplaceAll(p.Data, []byte(old), []byte(text))
		}
		return true
	}}
}

// answeredWith changes byte 2 of the PDUs of an operation code: a response.
func answeredWith(opcode iscsi.Opcode, response byte) *wire {
	return &wire{edit: func(_ int, _ bool, p *initiator.PDU) bool {
		if p.BHS.Opcode() == opcode {
			p.BHS[2] = response
		}
		return true
	}}
}

func standardInquiry(f func(data []byte)) func([]scsi.Operation, *backstore.Medium) []scsi.Operation {
	return edited(0x12, -1, func(cdb scsi.CDB, data []byte) {
		if cdb.Byte(1)&1 == 0 && len(data) >= 36 {
			f(data)
		}
	})
}

func vitalPage(page byte, f func(data []byte)) func([]scsi.Operation, *backstore.Medium) []scsi.Operation {
	return edited(0x12, -1, func(cdb scsi.CDB, data []byte) {
		if cdb.Byte(1)&1 == 1 && cdb.Byte(2) == page {
			f(data)
		}
	})
}

// comparesWithoutLock is COMPARE AND WRITE in two steps.
func comparesWithoutLock(rows []scsi.Operation, m *backstore.Medium) []scsi.Operation {
	rows = instead(0x89, -1, func(c *scsi.Command, _ func(*scsi.Command) error) error {
		p, err := c.Delivery.ReceiveDataOut(1024)
		if err != nil {
			return err
		}
		at, now := int64(c.CDB.Uint64(2))*512, make([]byte, 512)
		if _, err := m.ReadAt(now, at); err != nil {
			return err
		}
		if c.Length = 1024; !bytes.Equal(now, p[:512]) {
			return scsi.Miscompare(0)
		}
		time.Sleep(time.Millisecond)
		_, err = m.WriteAt(p[512:1024], at)
		return err
	})(rows, m)
	for i := range rows {
		if rows[i].Opcode == 0x89 {
			rows[i].Order = scsi.Free
		}
	}
	return rows
}

// otherISID gives each connection an ISID of its own, so that every login is another port.
func otherISID() *wire {
	return &wire{edit: func(n int, _ bool, p *initiator.PDU) bool {
		if op := p.BHS.Opcode(); op == iscsi.OpLoginRequest || op == iscsi.OpLoginResponse {
			p.BHS[13] ^= byte(n + 1)
		}
		return true
	}}
}

// lies has for each check a target that fails it.
func lies() map[string]lie {
	return map[string]lie{
		"discovery": {wire: replaced(iscsi.OpTextResponse, "127.0.0.1:", "0.0.0.0:")},
		"portals": {arrange: func(_ *testing.T, x *examination) {
			x.portals = append(x.portals, "127.0.0.1:1")
		}},
		"login-keys":  {wire: replaced(iscsi.OpLoginResponse, "ImmediateData=Yes", "ImmediateData=Reject")},
		"unknown-key": {wire: replaced(iscsi.OpLoginResponse, "X-org.isantarget.Doctor=NotUnderstood", "X-org.isantarget.Doctor=1")},
		"nop-out": {wire: &wire{edit: func(_ int, _ bool, p *initiator.PDU) bool {
			if p.BHS.Opcode() == iscsi.OpNopIn && len(p.Data) > 0 {
				p.Data[0] ^= 1
			}
			return true
		}}},
		"command-window": {wire: &wire{edit: func(_ int, toTarget bool, p *initiator.PDU) bool {
			if !toTarget {
				binary.BigEndian.PutUint32(p.BHS[32:], binary.BigEndian.Uint32(p.BHS[28:])+3)
			}
			return true
		}}},
		"session-reinstatement": {wire: &wire{deaf: true}},
		"reconnect":             {wire: &wire{once: true}},
		"logout":                {wire: answeredWith(iscsi.OpLogoutResponse, 3)},
		"abort-task":            {wire: answeredWith(iscsi.OpTaskManagementResponse, 5)},
		"missing-lun": {wire: &wire{edit: func(_ int, toTarget bool, p *initiator.PDU) bool {
			if toTarget && p.BHS.Opcode() == iscsi.OpSCSICommand {
				p.BHS[9] = 0
			}
			return true
		}}},
		"report-luns":   {rows: edited(0xa0, -1, func(_ scsi.CDB, data []byte) { copy(data[16:24], data[8:16]) })},
		"digests":       {wire: replaced(iscsi.OpLoginResponse, "Digest=CRC32C", "Digest=None")},
		"header-digest": {wire: &wire{}},
		"data-digest":   {wire: &wire{}},
		"write-digest":  {wire: &wire{}},
		"chap-enforced": {arrange: func(_ *testing.T, x *examination) { x.o.User, x.o.Secret = "hans", "a-secret-of-hans" }},
		"chap-md5":      {arrange: func(_ *testing.T, x *examination) { x.o.User, x.o.Secret = "hans", "a-secret-of-hans" }},
		"chap-algorithms": {arrange: func(_ *testing.T, x *examination) {
			x.o.User, x.o.Secret = "hans", "a-secret-of-hans"
		}},
		"chap-secret": {arrange: func(_ *testing.T, x *examination) { x.o.User, x.o.Secret = "hans", "short" }},

		"inquiry": {rows: standardInquiry(func(data []byte) { data[2] = 2 })},
		"ready": {rows: instead(0x00, -1, func(*scsi.Command, func(*scsi.Command) error) error {
			return &scsi.Sense{Key: scsi.KeyUnitAttention, Code: scsi.ASCPowerOnOccurred}
		})},
		"capacity": {rows: edited(0x25, -1, func(_ scsi.CDB, data []byte) { data[3]-- })},
		"last-block": {rows: instead(0x88, -1, func(c *scsi.Command, do func(*scsi.Command) error) error {
			if c.CDB.Uint64(2) >= 8<<20/512 {
				return nil
			}
			return do(c)
		})},
		"large-read": {rows: edited(0x28, -1, func(cdb scsi.CDB, data []byte) {
			if cdb.Uint16(7) > 100 {
				data[0] ^= 1
			}
		})},
		"invalid-field": {rows: instead(0x12, -1, func(c *scsi.Command, do func(*scsi.Command) error) error {
			if c.CDB.Byte(2) == 0x7f {
				return nil
			}
			return do(c)
		})},
		"request-sense": {rows: edited(0x03, -1, func(_ scsi.CDB, data []byte) { data[2] = byte(scsi.KeyMediumError) })},
		"mode-sense":    {rows: edited(0x1a, -1, func(_ scsi.CDB, data []byte) { data[2] ^= 0x10 })},
		"flush":         {rows: refused(0x35, -1)},
		"verify":        {rows: nothing(0x2f, -1, 512)},

		"vpd-83": {identity: func(_ int, id *scsi.Identity) { id.NAA, id.EUI64 = []byte{}, []byte{} }},
		"vpd-83-paths": {arrange: func(t *testing.T, x *examination) {
			other := &wire{edit: func(_ int, toTarget bool, p *initiator.PDU) bool {
				if !toTarget && p.BHS.Opcode() == iscsi.OpDataIn && len(p.Data) > 40 && p.Data[1] == 0x83 {
					p.Data[12] ^= 1
				}
				return true
			}}
			x.portals = append(x.portals, other.listen(t, x.portal))
		}},
		"vpd-83-luns": {identity: func(_ int, id *scsi.Identity) { id.Serial = "serial" }},
		"vpd-80":      {rows: vitalPage(0x80, func(data []byte) { copy(data[4:], strings.Repeat(" ", len(data)-4)) })},
		"alua":        {rows: standardInquiry(func(data []byte) { data[5] &^= 0x30 })},
		"standby":     {rows: edited(0xa3, 0x0a, func(_ scsi.CDB, data []byte) { data[4] = data[4]&0xf0 | 2 })},
		"queue": {rows: instead(0x28, -1, func(c *scsi.Command, do func(*scsi.Command) error) error {
			if c.Tag%5 == 0 {
				return scsi.TaskAborted
			}
			return do(c)
		})},

		"block-length": {blockSize: 4096},
		"vpd-b0":       {rows: vitalPage(0xb0, func(data []byte) { data[5] = 0 })},
		"vpd-b2":       {rows: vitalPage(0xb2, func(data []byte) { data[5] = 0 })},
		"vpd-86": {rows: instead(0x12, -1, func(c *scsi.Command, do func(*scsi.Command) error) error {
			if c.CDB.Byte(2) == 0x86 {
				return scsi.IllegalRequest(scsi.ASCInvalidFieldInCDB)
			}
			return do(c)
		})},
		"tas": {rows: edited(0x1a, -1, func(_ scsi.CDB, data []byte) {
			if i := bytes.Index(data, []byte{0x8a, 0x0a}); i >= 0 {
				data[i+5] &^= 0x40
			} else if i := bytes.Index(data, []byte{0x0a, 0x0a}); i >= 0 {
				data[i+5] &^= 0x40
			}
		})},
		"receive-copy":    {rows: refused(0x84, 0x03)},
		"operation-codes": {rows: edited(0xa3, 0x0c, func(_ scsi.CDB, data []byte) { data[1] |= 3 })},
		"product": {identity: func(lun int, id *scsi.Identity) {
			if lun == 1 {
				id.Product = "OTHER"
			}
		}},

		"not-removable":   {rows: standardInquiry(func(data []byte) { data[1] |= 0x80 })},
		"pr-capabilities": {rows: edited(0x5e, 2, func(_ scsi.CDB, data []byte) { data[4] &^= 1 << 5 })},
		"pr-read":         {rows: refused(0x5e, 0)},

		"write": {rows: nothing(0x8a, -1, 1024)},
		"fua": {rows: instead(0x8a, -1, func(c *scsi.Command, do func(*scsi.Command) error) error {
			if c.CDB.Byte(1)&8 != 0 {
				return scsi.IllegalRequest(scsi.ASCInvalidFieldInCDB)
			}
			return do(c)
		})},
		"ats":        {rows: nothing(0x89, -1, 1024)},
		"ats-atomic": {rows: comparesWithoutLock},
		"write-same": {rows: nothing(0x93, -1, 512)},
		"xcopy":      {rows: nothing(0x83, 0, 76)},
		"unmap":      {rows: nothing(0x42, -1, 24)},

		"reserve-6":      {rows: nothing(0x16, -1, 0)},
		"pr-register":    {rows: nothing(0x5f, 6, 24)},
		"pr-reserve":     {rows: nothing(0x5f, 1, 24)},
		"pr-exclusive":   {rows: unguarded(0x28)},
		"pr-logout":      {wire: otherISID()},
		"pr-preempt":     {rows: nothing(0x5f, 4, 24)},
		"pr-aptpl":       {forgetful: true},
		"pr-clear":       {rows: nothing(0x5f, 3, 24)},
		"fence-stranger": {rows: unguarded(0x2a)},
		"fence-preempt":  {rows: unguarded(0x2a)},
		"fence-abort":    {rows: nothing(0x5f, 5, 24)},
		"reset":          {wire: answeredWith(iscsi.OpTaskManagementResponse, 255)},
	}
}

// TestEveryCheckCanFail: each check has a target that fails it, and passes on the same one
// without the lie (of those that need CHAP, several portals or the like test/doctor shows that).
func TestEveryCheckCanFail(t *testing.T) {
	all := lies()
	for _, c := range Checks() {
		l, ok := all[c.ID]
		if !ok {
			t.Errorf("%s: nothing makes it fail", c.ID)
			continue
		}
		delete(all, c.ID)
		t.Run(c.ID, func(t *testing.T) {
			t.Parallel()
			if f := verdict(t, c, lie{}); f.Verdict == Fail {
				t.Errorf("without a lie: %s", f.Found)
			}
			if f := verdict(t, c, l); f.Verdict != Fail {
				t.Errorf("with it: %s: %s", f.Verdict, f.Found)
			} else if t.Log(f.Found); f.Breaks == "" || f.Remedy == "" {
				t.Errorf("it does not say what breaks (%q), or what to do (%q)", f.Breaks, f.Remedy)
			}
		})
	}
	for id := range all {
		t.Errorf("there is a lie for %s, which is no check", id)
	}
}

// verdict runs one check on a target with a lie.
func verdict(t *testing.T, c Check, l lie) Finding {
	t.Helper()
	x := examinationOf(t, l)
	if c.scope != ofPortal && l.wire == nil {
		var err error
		if x.units, err = x.disks(); err != nil {
			t.Fatal(err)
		}
	} else {
		x.units = []int{0, 1}
	}
	x.listed = []initiator.Target{{Name: rigName, Addresses: []string{x.portal + ",1"}}}
	x.pages = map[int][]byte{}
	if l.arrange != nil {
		l.arrange(t, x)
	}
	x.allow()
	f := c.finding(c.run(x))
	x.o.Secret = ""
	x.restore()
	return f
}

// TestHostChecksCanFail: so with the checks of the host.
func TestHostChecksCanFail(t *testing.T) {
	good := func() *host {
		h := &host{socket: t.TempDir() + "/admin.sock", limits: "Max open files            65536                65536                files\n", now: time.Now(),
			statfs: func(string) (int64, uint64, error) { return 0xef53, 1 << 40, nil }}
		h.Targets = []provision.TargetStatus{{Name: "iqn.t", Access: "loopback", LUNs: map[int]string{0: "a"}, Portals: []provision.PortalStatus{{Address: "127.0.0.1:3260"}}}}
		h.LUNs = []provision.LUNStatus{{Name: "a", Kind: "file", Path: "/srv/a.img"}}
		h.Stores = []provision.StoreStatus{{Path: "/srv", FileSystem: provision.FileSystemStatus{Capacity: 100, Available: 50}}}
		h.Status = admin.Status{Version: "1", Targets: h.Targets, LUNs: h.LUNs, Stores: h.Stores}
		return h
	}
	session := func(from string) provision.SessionStatus {
		return provision.SessionStatus{Target: "iqn.t", Initiator: "iqn.i", Connections: []provision.ConnectionStatus{{From: from}}}
	}
	bad := map[string]func(h *host){
		"configuration":     func(h *host) { h.Warnings = []string{"a warning"} },
		"luns-ready":        func(h *host) { h.LUNs[0].NotReady = "it is away" },
		"luns-mapped":       func(h *host) { h.Targets[0].LUNs = nil },
		"space":             func(h *host) { h.Stores[0].FileSystem.Owed = 51 },
		"image-file-system": func(h *host) { h.statfs = func(string) (int64, uint64, error) { return 0x01021994, 1 << 40, nil } },
		"state-space":       func(h *host) { h.statfs = func(string) (int64, uint64, error) { return 0xef53, 1 << 20, nil } },
		"open-files": func(h *host) {
			h.limits = "Max open files            64                   64                   files\n"
		},
		"clock":    func(h *host) { h.now = time.Unix(0, 0) },
		"access":   func(h *host) { h.Targets[0].Portals[0].Address = "192.0.2.1:3260" },
		"sessions": func(h *host) { h.Sessions = []provision.SessionStatus{session("192.0.2.1:1"), session("192.0.2.2:1")} },
	}
	for _, c := range hostChecks() {
		h := good()
		if f := c.finding(c.look(h)); f.Verdict != Pass && c.ID != "state-space" {
			t.Errorf("%s: %s: %s", c.ID, f.Verdict, f.Found)
		}
		spoil := bad[c.ID]
		if spoil == nil {
			t.Errorf("%s: nothing makes it fail", c.ID)
			continue
		}
		spoil(h)
		if f := c.finding(c.look(h)); f.Verdict != Fail || f.Breaks == "" || f.Remedy == "" {
			t.Errorf("%s, spoilt: %+v", c.ID, f)
		}
	}
}

// TestIDs: no two checks have one name, and each says whom it is for.
func TestIDs(t *testing.T) {
	var seen []string
	for _, c := range append(Checks(), HostChecks()...) {
		if slices.Contains(seen, c.ID) || len(c.For) == 0 || c.Title == "" || c.Breaks == "" || c.Remedy == "" {
			t.Errorf("%+v", c)
		}
		seen = append(seen, c.ID)
	}
}
