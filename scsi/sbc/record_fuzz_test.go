package sbc

import (
	"testing"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/scsi"
)

// FuzzRecords: no record of a format or a sanitize operation makes a unit fail inside, or
// write where nothing was begun; what cannot be read is no unit.
func FuzzRecords(f *testing.F) {
	for _, s := range []string{
		``, `{}`, `null`, `{"state":"running","action":1,"passes":1,"pattern":"AA==","place":"/disk"}`, `{"state":"running","action":1,"passes":31,"invert":true,"pattern":"AQI=","place":"/disk"}`,
		`{"state":"running","action":2,"passes":1,"place":"/disk"}`, `{"state":"failed","unrestricted":true}`, `{"state":"begun","place":"/disk"}`, `{"state":"failed","place":"/disk"}`,
		`{"state":"running","action":1,"passes":-1}`, `{"state":"nonsense"}`, `[]`, `{"state":7}`,
	} {
		f.Add([]byte(s), []byte(s))
		f.Add([]byte(nil), []byte(s))
		f.Add([]byte(s), []byte(nil))
	}
	f.Fuzz(func(t *testing.T, format, sanitize []byte) {
		k := &notes{kept: map[string][]byte{}}
		for kind, text := range map[string][]byte{formatKind: format, sanitizeKind: sanitize} {
			if len(text) > 0 {
				k.kept["kept"+kind] = text
			}
		}
		store := newRecorder(t, 64<<10)
		device, err := New(Options{BlockSize: 512, WriteCache: true, Thin: true, Place: "/disk", Medium: backstore.Bind(store)})
		if err != nil {
			t.Fatal(err)
		}
		defer device.Close()
		unit, err := scsi.NewLogicalUnit(scsi.Identity{Name: "kept", Serial: "kept"}, device, k)
		if err != nil {
			return
		}
		device.background.wait()
		s := unit.Ready()
		if (device.format.torn.Load() || device.sanitize.busy.Load()) != (s != nil) {
			t.Errorf("ready says %v", s)
		}
		if len(sanitize) == 0 && store.writes.Load() > 0 {
			t.Errorf("%d writes with no record of an operation that writes", store.writes.Load())
		}
	})
}
