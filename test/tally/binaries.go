package main

import (
	"context"
	"os"
	"strings"
	"sync"

	"github.com/isantarget/isantarget/test/daemon"
	"github.com/isantarget/isantarget/test/peer"
)

// binaries are what the tests of all stages start, built once, when the first of them needs it: with the race detector
// where that is possible.
type binaries struct {
	dir  string
	once sync.Once
	env  []string
}

// environment names them to the tests. When they cannot be built, that is a failure of the stage that asked first.
func (b *binaries) environment(ctx context.Context, r *report) []string {
	b.once.Do(func() {
		env, err := daemon.Build(ctx, b.dir, peer.Lacking(compiler()...) == "")
		if err != nil {
			r.fail("building the binary to test", err.Error())
			return
		}
		b.env = env
	})
	return b.env
}

// withoutRace names the one without the race detector as the binary to test.
func (b *binaries) withoutRace(ctx context.Context, r *report) []string {
	env := b.environment(ctx, r)
	for _, pair := range env {
		if path, ok := strings.CutPrefix(pair, daemon.ClientVariable+"="); ok {
			return []string{daemon.BinaryVariable + "=" + path}
		}
	}
	return env
}

// newBinaries makes a folder for them; the caller calls remove.
func newBinaries() (*binaries, error) {
	dir, err := os.MkdirTemp("", "isantarget-tally-")
	if err != nil {
		return nil, err
	}
	return &binaries{dir: dir}, nil
}

func (b *binaries) remove() { os.RemoveAll(b.dir) }
