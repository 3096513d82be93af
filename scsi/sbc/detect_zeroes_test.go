package sbc

import (
	"testing"

	"github.com/isantarget/isantarget/backstore"
)

// A WRITE of zeros gives space back where that was asked for, and reads back as what was written in any case.
func TestDetectZeroes(t *testing.T) {
	const blocks = 16
	zeros := make([]byte, blocks*512)
	almost := make([]byte, blocks*512)
	almost[5000] = 1
	fua := cdb(form10, 0x2a, flagFUA, 32, blocks)
	for name, c := range map[string]struct {
		on     bool
		change func(*Options, *recorder)
		cdb    []byte
		data   []byte
		want   []string
	}{
		"zeros":              {true, nil, write10(32, blocks), zeros, []string{"zero"}},
		"FUA":                {true, nil, fua, zeros, []string{"zero", "sync"}},
		"no cache":           {true, func(o *Options, _ *recorder) { o.WriteCache = false }, write10(32, blocks), zeros, []string{"zero", "sync"}},
		"one byte":           {true, nil, write10(32, blocks), almost, []string{"write"}},
		"first byte":         {true, nil, write10(32, blocks), pattern(blocks*512, 7), []string{"write"}},
		"off":                {false, nil, write10(32, blocks), zeros, []string{"write"}},
		"fixed":              {true, func(o *Options, _ *recorder) { o.Thin = false }, write10(32, blocks), zeros, []string{"write"}},
		"holes are no zeros": {true, func(_ *Options, s *recorder) { s.features &^= backstore.ReadsZeros }, write10(32, blocks), zeros, []string{"write"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(o *Options, s *recorder) {
				o.DetectZeroes = c.on
				if c.change != nil {
					c.change(o, s)
				}
			})
			r.good(write10(0, 128), pattern(128*512, 3))
			r.store.forget()
			r.good(c.cdb, c.data)
			r.wantNoted(c.want...)
			r.wantContent(32, c.data)
			r.wantContent(0, pattern(128*512, 3)[:32*512])
			r.wantContent(32+blocks, pattern(128*512, 3)[(32+blocks)*512:])
		})
	}
}
