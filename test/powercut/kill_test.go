package powercut

import (
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/isantarget/isantarget/test/daemon"
)

// TestKill: SIGKILL at a random moment under load. Whatever was acknowledged is there,
// flushed or not.
func TestKill(t *testing.T) {
	cycles := 25
	if testing.Short() {
		cycles = 5
	}
	for name, options := range map[string]string{"sparse": "", "fixed 4096": ",provisioning=fixed,block-size=4096", "direct": ",direct"} {
		t.Run(name, func(t *testing.T) {
			blockSize := 512
			if name == "fixed 4096" {
				blockSize = 4096
			}
			d := daemon.Start(t, daemon.Config{LUNs: []string{"a=" + filepath.Join(t.TempDir(), "a.img") + ",size=4MiB" + options}})
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			chances := rand.New(rand.NewPCG(seed, 99))
			all := newCrew(seed, 4<<20/blockSize, blockSize)
			for _, w := range all {
				w.Every = true
			}
			defer all.leave()
			for cycle := 0; !all.enough(cycle, cycles); cycle++ {
				all.login(t, d.Address())
				all.work(func() {
					time.Sleep(time.Duration(20+chances.IntN(300)) * time.Millisecond) // the moment is the test's, not a wait
					d.Kill()
				})
				d.Restart()
				all.login(t, d.Address())
				report(t, cycle, all.check(t, cycle))
				if t.Failed() {
					return
				}
			}
			all.tell(t, cycles)
		})
	}
}
