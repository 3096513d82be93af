package live

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/test/daemon"
	"github.com/isantarget/isantarget/test/variation"
)

// TestHundredVariations applies a hundred configurations, one after the other, by the file
// and by objects: portal groups, LUNs, targets, maps and rules come, change and go. Some
// have one wrong entry, and change nothing. The session that works meanwhile, of which none
// of them speaks, notices nothing.
func TestHundredVariations(t *testing.T) {
	own := rule{alice, []string{"a"}}
	r := start(t, own)
	c := r.login(alice, iscsi.ISID{0x80, 1})
	w := work(t, c, 8)
	before := r.session(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	now := variation.Empty()
	for i := range 100 {
		rounds := w.rounds.Load()
		next := variation.New(random, daemon.Target)
		switch {
		case i%10 == 9:
			r.refuse(t, own, now, next)
			continue
		case i%10 == 4:
			r.write(r.text(own) + next.File())
			r.Signal(syscall.SIGHUP)
			eventually(t, "SIGHUP applies the file", func() bool { return strings.Contains(r.export(t), next.Mark) })
		case i%3 == 0:
			r.write(r.text(own) + next.File())
			if status, printed := r.command("apply", r.file()); status != 0 {
				t.Fatalf("apply %d: %d %s\n%s", i, status, printed, next.File())
			}
		}
		if _, err := r.Edit(t.Context(), now.To(next)); err != nil {
			t.Fatalf("change %d: %v", i, err)
		}
		now = next
		eventually(t, "the other session goes on", func() bool { return w.rounds.Load() > rounds || len(w.ended) > 0 })
	}
	if after := r.session(t); after != before {
		t.Errorf("its session was %s, and is %s", before, after)
	}
	w.finish(t)
	for _, words := range []string{"session lost", "is gone", "hang in"} {
		if strings.Contains(r.Log(), words) {
			t.Errorf("the log says that something %s", words)
		}
	}
}

// refuse applies next with one entry too many, by the file and by objects: nothing changes.
func (r *rig) refuse(t *testing.T, own rule, now, next variation.Variation) {
	t.Helper()
	before := r.export(t)
	r.write(r.text(own) + next.File() + "[[lun]]\nname = \"wrong\"\npath = \"is-not-there.img\"\n")
	if status, printed := r.command("apply", r.file()); status != 1 || !strings.Contains(printed, "is-not-there.img") {
		t.Errorf("a wrong entry: %d %s", status, printed)
	}
	b := now.To(next)
	b.Put = append(b.Put, makeLUN("wrong", "iqn.2026-11.org.isantarget.test:is-not-there").Put...)
	if _, err := r.Edit(t.Context(), b); err == nil {
		t.Error("a wrong object is taken")
	}
	if after := r.export(t); after != before {
		t.Errorf("what was refused has changed\n%s\ninto\n%s", before, after)
	}
}

// export is all of what runs.
func (r *rig) export(t *testing.T) string {
	t.Helper()
	text, err := r.Export(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// session says which the only session is.
func (r *rig) session(t *testing.T) string {
	t.Helper()
	all, err := r.Sessions(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatalf("%+v, %v, want one session", all, err)
	}
	return fmt.Sprintf("TSIH %d, ISID %v, of %s, since %v, by %+v", all[0].TSIH, all[0].ISID, all[0].Initiator, all[0].Since, all[0].Connections)
}

// TestKilledInTheMiddleOfAChange: the daemon is killed while it goes from one configuration
// to another, by the file or by objects. What it serves when it is started again is the one
// or the other, to the last setting, and it can go on from there.
func TestKilledInTheMiddleOfAChange(t *testing.T) {
	own := rule{alice, []string{"a"}}
	r := start(t, own)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	last := variation.Empty()
	outcomes := map[string]int{}
	for pair := range 4 {
		both := [2]variation.Variation{variation.New(random, daemon.Target), variation.New(random, daemon.Target)}
		var want [2][2]string // by the variation of the file and that of the objects
		var took time.Duration
		for _, at := range [][2]int{{0, 0}, {1, 0}, {1, 1}, {0, 1}} {
			r.write(r.text(own) + both[at[0]].File())
			begun := time.Now()
			if _, err := r.Reload(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := r.Edit(t.Context(), last.To(both[at[1]])); err != nil {
				t.Fatal(err)
			}
			took = time.Since(begun)
			last = both[at[1]]
			want[at[0]][at[1]] = r.export(t)
		}
		at := [2]int{0, 1}
		for round := range 8 {
			side := round % 2
			to := at
			to[side] = 1 - at[side]
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- r.change(ctx, side, own, both, at, to) }()
			time.Sleep(time.Duration(random.Int64N(int64(took)))) // any moment will do
			r.Kill()
			cancel()
			acknowledged := <-ended == nil
			r.Restart()
			got := r.export(t)
			switch {
			case got == want[to[0]][to[1]]:
				at = to
				outcomes["new"]++
			case got == want[at[0]][at[1]] && !acknowledged:
				outcomes["old"]++
			default:
				t.Fatalf("pair %d, round %d: acknowledged: %v; there is\n%s\nold\n%s\nnew\n%s", pair, round, acknowledged, got, want[at[0]][at[1]], want[to[0]][to[1]])
			}
			for _, table := range configs.Tables() {
				if _, err := r.Objects(t.Context(), table); err != nil {
					t.Error(err)
				}
			}
		}
		last = both[at[1]]
	}
	t.Logf("outcomes %v", outcomes)
	attentions(t, r.login(alice, iscsi.ISID{0x80, 1}), 1)
}

// change goes from one pair of variations to another, on one side.
func (r *rig) change(ctx context.Context, side int, own rule, both [2]variation.Variation, from, to [2]int) error {
	if side == 1 {
		_, err := r.Edit(ctx, both[from[1]].To(both[to[1]]))
		return err
	}
	fresh := r.file() + ".new"
	if err := os.WriteFile(fresh, []byte(r.text(own)+both[to[0]].File()), 0o600); err != nil {
		return err
	}
	if err := os.Rename(fresh, r.file()); err != nil {
		return err
	}
	_, err := r.Reload(ctx)
	return err
}
