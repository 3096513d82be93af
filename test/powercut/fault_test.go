package powercut

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/isantarget/isantarget/provision"
)

// breakages are the faults of which each round puts some into force.
func breakages(chances *rand.Rand) []string {
	pick := func(words ...string) string { return words[chances.IntN(len(words))] }
	where := func() string {
		if chances.IntN(3) == 0 {
			first := chances.IntN(4000)
			return fmt.Sprintf(" lba=%d-%d", first, first+chances.IntN(400))
		}
		return ""
	}
	rate := func() string { return fmt.Sprintf(" rate=%d%%", 1+chances.IntN(20)) }
	all := []string{
		"error=" + pick("EIO", "ENOSPC", "EDQUOT", "EROFS", "EINTR", "ENOMEM", "EUCLEAN", "ETIMEDOUT") + " on=" + pick("read", "write", "read+write", "zero+unmap", "read+write+zero+unmap+map") + where() + rate(),
		"delay=" + pick("1ms", "5ms", "20ms") + " on=" + pick("read", "write", "sync", "read+write+sync+zero+unmap") + rate(),
		"short on=" + pick("read", "write", "read+write") + where() + rate(),
		"torn on=" + pick("write", "write+zero+unmap") + where() + rate(),
		"lost-sync" + rate(),
		"error=EIO on=sync after=" + fmt.Sprint(chances.IntN(30)) + " count=1",
	}
	chances.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:1+chances.IntN(len(all))]
}

// TestFaults: whatever goes wrong in the store, in whatever combination, nobody reads a
// byte that cannot be: an acknowledged write is there, a failed one is there or not, and
// no block is a mixture.
func TestFaults(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	for name, lun := range map[string]string{
		"in memory": `kind = "memory"`,
		"on a file": fmt.Sprintf("path = %q", filepath.Join(t.TempDir(), "a.img")),
		"direct":    fmt.Sprintf("path = %q\ndirect = true\nwrite-cache = false", filepath.Join(t.TempDir(), "b.img")),
	} {
		t.Run(name, func(t *testing.T) {
			p, address := serve(t, lun)
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			chances := rand.New(rand.NewPCG(seed, 99))
			all := newCrew(seed, 2<<20/512, 512)
			for _, w := range all {
				w.Every, w.Patience = true, 1000
			}
			all.login(t, address)
			defer all.leave()
			struck := int64(0)
			for round := 0; !all.enough(round, rounds) || struck < int64(rounds) && round < 10*rounds; round++ {
				faults := breakages(chances)
				set(t, p, faults...)
				all.work(func() { time.Sleep(50 * time.Millisecond) }) // how much they do is of no matter
				f, err := p.Faults("a")
				if err != nil {
					t.Fatal(err)
				}
				for _, one := range f {
					struck += one.Struck
				}
				set(t, p)
				l, err := p.LUNs()
				if err != nil {
					t.Fatal(err)
				}
				if len(l[0].Alerts) > 0 {
					if err := p.Recover(t.Context(), "a", provision.Recovery{AcceptLoss: true}); err != nil {
						t.Fatal(err)
					}
				}
				report(t, round, all.check(t, round))
				if t.Failed() {
					t.Logf("the faults: %s", strings.Join(faults, "; "))
					return
				}
			}
			all.tell(t, rounds)
			if struck < int64(rounds) {
				t.Errorf("only %d faults struck in %d rounds", struck, rounds)
			}
		})
	}
}
