package provision

import (
	"strings"
	"testing"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/memory"
	"github.com/isantarget/isantarget/scsi"
	"github.com/isantarget/isantarget/scsi/sbc"
	"github.com/isantarget/isantarget/state"
)

// FuzzRemoval: what stands in the record of a removal is that of the LUN it is called after, or
// nothing is removed by it.
func FuzzRemoval(f *testing.F) {
	whole := removal{LUN: "a", Path: "/srv/a.img", File: "1:2:3"}
	f.Add(whole.document(), whole.record())
	for _, s := range []string{
		"", "null", "{}", "[]", `{"lun":"a"}`, `{"lun":"a","path":""}`, `{"lun":"b","path":"/srv/a.img"}`, `{"lun":"../../a","path":"/etc/passwd"}`, `{"lun":7}`, `{"LUN":"a","Path":"/a","lun":"b"}`,
	} {
		f.Add("removal-a.json", []byte(s))
	}
	f.Add("removal-../../a.json", []byte(`{"lun":"../../a","path":"/etc/passwd"}`))
	f.Add("removal-.json", []byte(`{"path":"/a"}`))
	f.Fuzz(func(t *testing.T, document string, text []byte) {
		m, err := parseRemoval(removalPrefix, document, text)
		if err != nil {
			if m != (removal{}) {
				t.Fatalf("%q is refused (%v), and gives %+v", text, err, m)
			}
			return
		}
		if !isRemoval(document) || m.LUN == "" || strings.ContainsAny(m.LUN, "/\x00") || strings.HasPrefix(m.LUN, ".") || m.Path == "" {
			t.Fatalf("%q, called %q, is taken: %+v", text, document, m)
		}
		if again, err := parseRemoval(removalPrefix, m.document(), m.record()); err != nil || again != m {
			t.Fatalf("%+v is %+v after it was recorded, %v", m, again, err)
		}
	})
}

// FuzzLoss: where there is a record of a loss, whatever stands in it, nothing is written until the
// operator accepts the loss; then it is gone.
func FuzzLoss(f *testing.F) {
	for _, s := range []string{
		`{"since":"2026-11-01T10:00:00Z","found":"2026-11-01T10:00:05Z","cause":"fsync: input/output error"}`,
		"", "null", "{}", "[]", `{"since":7}`, `{"since":"never"}`, `{"found":"9999-12-31T23:59:59.999999999+23:59"}`, `{"cause":"\u0000\n"}`, `{"cause":`, "\x00",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		keep, err := state.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer keep.Close()
		u := &unit{keep: keep, medium: newMedium(t)}
		defer u.medium.Close()
		if u.device, err = sbc.New(sbc.Options{Medium: u.medium, BlockSize: 512, PhysicalBlockSize: 512}); err != nil {
			t.Fatal(err)
		}
		if u.lu, err = scsi.NewLogicalUnit(scsi.Identity{Name: "a", Serial: "0123"}, u.device, keep); err != nil {
			t.Fatal(err)
		}
		if err := keep.Save(u.lu.Identity, lossKind, text); err != nil {
			t.Fatal(err)
		}
		if err := u.rememberLoss(false); err != nil {
			t.Fatal(err)
		}
		if _, err := u.medium.WriteAt(make([]byte, 512), 0); err == nil {
			t.Fatalf("with the record %q it is written", text)
		}
		if lost := u.medium.Lost(); lost == nil || !strings.Contains(lost.Error(), "may be lost") {
			t.Fatalf("the record %q is told as %v", text, lost)
		}
		again := &unit{keep: keep, lu: u.lu, medium: newMedium(t)} // opened anew
		defer again.medium.Close()
		if err := again.rememberLoss(true); err != nil {
			t.Fatal(err)
		}
		if left, err := keep.Load(u.lu.Identity, lossKind); err != nil || left != nil {
			t.Fatalf("the loss is accepted, and there is a record still: %q, %v", left, err)
		}
	})
}

func newMedium(t *testing.T) *backstore.Medium {
	t.Helper()
	s, err := memory.New(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	return backstore.Bind(s)
}
