package powercut

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/provision"
	"github.com/isantarget/isantarget/test/daemon"
)

// serve serves one LUN, which breaks on demand, inside this process.
func serve(t *testing.T, lun string) (p *provision.Provisioner, address string) {
	t.Helper()
	text := fmt.Sprintf("state = \"state\"\nlimits = { drain-timeout = \"1s\" }\n[[portal-group]]\ntag = 1\nlisten = [\"127.0.0.1:0\"]\n"+
		"[[lun]]\nname = \"a\"\nsize = \"2MiB\"\n%s\n[[lun.layer]]\nkind = \"fault\"\n[[target]]\nname = %q\nluns = { 0 = \"a\" }\n", lun, daemon.Target)
	config, err := configs.Parse("powercut.toml", t.TempDir(), text)
	if err != nil {
		t.Fatal(err)
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	p = provision.New(provision.Options{Log: log, Revision: "0"})
	r, err := p.Apply(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := p.Apply(context.Background(), configs.Config{}); err != nil {
			t.Error(err)
		}
	})
	return p, r.Targets[0].Portals[0]
}

func set(t *testing.T, p *provision.Provisioner, faults ...string) {
	t.Helper()
	if err := p.SetFaults("a", faults); err != nil {
		t.Fatal(err)
	}
}

// struck tells whether the first fault has struck.
func struck(t *testing.T, p *provision.Provisioner) bool {
	t.Helper()
	f, err := p.Faults("a")
	if err != nil || len(f) == 0 {
		t.Fatalf("faults %+v, %v", f, err)
	}
	return f[0].Struck > 0
}

// cut is a power cut at some call.
func cut(chances *rand.Rand) string {
	on := []string{"write", "write", "sync", "zero", "unmap", "write+zero+unmap+sync"}
	keep := []string{"power-cut", "power-cut=30%", "power-cut=50%", "power-cut=90%"}
	return fmt.Sprintf("%s on=%s after=%d", keep[chances.IntN(len(keep))], on[chances.IntN(len(on))], chances.IntN(60))
}

// TestLayer: a layer right upon the store loses what was not synced, at any moment.
func TestLayer(t *testing.T) {
	cycles := 100
	if testing.Short() {
		cycles = 20
	}
	for name, c := range map[string]struct {
		lun       string
		blockSize int
		through   bool
	}{
		"512":              {"kind = \"memory\"", 512, false},
		"4096":             {"kind = \"memory\"\nblock-size = 4096", 4096, false},
		"no write cache":   {"kind = \"memory\"\nwrite-cache = false", 512, true},
		"on a sparse file": {fmt.Sprintf("path = %q", filepath.Join(t.TempDir(), "a.img")), 512, false},
	} {
		t.Run(name, func(t *testing.T) {
			p, address := serve(t, c.lun)
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			chances := rand.New(rand.NewPCG(seed, 99))
			all := newCrew(seed, 2<<20/c.blockSize, c.blockSize)
			for _, w := range all {
				w.WriteThrough = c.through
			}
			all.login(t, address)
			defer all.leave()
			for cycle := range cycles {
				set(t, p, cut(chances))
				all.work(func() { until(t, "the power is cut", func() bool { return struck(t, p) }) })
				set(t, p)
				report(t, cycle, all.check(t, cycle))
				if t.Failed() {
					return
				}
			}
			all.tell(t, cycles)
			survivors := 0
			for _, w := range all {
				survivors += w.Survivors
			}
			if survivors == 0 && !c.through {
				t.Error("nothing that was not flushed ever survived: that is not how power is lost")
			}
		})
	}
}

// TestLayer_Liar: a layer that lies about its syncs is found out, by each way to ask for
// one. Without this the other tests prove nothing.
func TestLayer_Liar(t *testing.T) {
	for name, c := range map[string]struct {
		lun     string
		through bool
	}{
		"with a cache": {"kind = \"memory\"", false},
		"without":      {"kind = \"memory\"\nwrite-cache = false", true},
	} {
		t.Run(name, func(t *testing.T) {
			p, address := serve(t, c.lun)
			all := newCrew(1, 2<<20/512, 512)
			for _, w := range all {
				w.WriteThrough = c.through
			}
			all.login(t, address)
			defer all.leave()
			for range 50 {
				set(t, p, "power-cut on=write after=60", "lost-sync")
				all.work(func() { until(t, "the power is cut", func() bool { return struck(t, p) }) })
				set(t, p)
				if len(all.check(t, 0)) > 0 {
					return
				}
			}
			t.Error("fifty cuts with lost syncs, and nothing was missed")
		})
	}
}
