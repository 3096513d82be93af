package live

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/provision"
	"github.com/isantarget/isantarget/test/daemon"
)

// makeLUN is a batch that makes a LUN and maps it to a target, under the next number.
func makeLUN(name, target string) admin.Batch {
	return admin.Batch{Put: []admin.Put{
		{Table: configs.LUNTable, Object: map[string]any{"name": name, "kind": "null", "size": "1MiB"}},
		{Table: configs.MapTable, Object: map[string]any{"target": target, "lun": name}},
	}}
}

func deleteOf(table configs.Table, name string) admin.Batch {
	return admin.Batch{Delete: []provision.Delete{{Table: table, Name: name, Version: provision.AnyVersion}}}
}

// probe reads a block again and again, and gives how long each read took.
func probe(c *initiator.Connection, stop <-chan struct{}) (took []time.Duration, err error) {
	for {
		select {
		case <-stop:
			return took, nil
		default:
		}
		begun := time.Now()
		r, err := c.Execute(initiator.Command{CDB: rw(0x28, 0, 1), Read: block})
		if err != nil || r.Status != 0 {
			return took, fmt.Errorf("a read: %+v, %w", r, err)
		}
		took = append(took, time.Since(begun))
	}
}

func p99(took []time.Duration) time.Duration {
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

// TestHundredChangesUnderIO: objects are added, changed and removed while sessions work
// that none of it is about. They notice nothing.
func TestHundredChangesUnderIO(t *testing.T) {
	r := start(t, rule{alice, []string{"a"}}, rule{bob, []string{"b"}})
	w := work(t, r.login(alice, iscsi.ISID{0x80, 1}), 8)
	c := r.login(bob, iscsi.ISID{0x80, 2})
	attentions(t, c, 1)
	measure := func(do func()) time.Duration {
		stop, took, ended := make(chan struct{}), []time.Duration(nil), make(chan error, 1)
		go func() {
			var err error
			took, err = probe(c, stop)
			ended <- err
		}()
		do()
		close(stop)
		if err := <-ended; err != nil {
			t.Fatalf("the session that nobody has changed: %v", err)
		}
		return p99(took)
	}
	quiet := measure(func() {
		rounds := w.rounds.Load()
		eventually(t, "work goes on", func() bool { return w.rounds.Load() > rounds+20 })
	})
	edit := func(b admin.Batch) {
		t.Helper()
		if _, err := r.Edit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	const other = "iqn.2026-11.org.isantarget.test:other"
	loud := measure(func() {
		for i := range 10 {
			rounds := w.rounds.Load()
			lun := fmt.Sprintf("made%d", i)
			edit(admin.Batch{Put: []admin.Put{{Table: configs.TargetTable, Object: map[string]any{"name": other, "access": "open"}}}})
			edit(makeLUN(lun, other))
			edit(makeLUN(lun+"x", daemon.Target)) // the rules of the others have LUNs of their own
			edit(admin.Batch{Put: []admin.Put{{Table: configs.LUNTable, Object: map[string]any{"name": lun, "kind": "null", "size": "2MiB", "readonly": true}, Version: "*"}}})
			edit(admin.Batch{Put: []admin.Put{{Table: configs.PortalGroupTable, Object: map[string]any{"listen": []string{"127.0.0.3:0"}}}}})
			edit(admin.Batch{Put: []admin.Put{{Table: configs.RuleTable, Object: map[string]any{"name": "r", "target": other, "networks": []string{"10.0.0.0/8"}}}}})
			edit(admin.Batch{Put: []admin.Put{{Table: configs.TargetTable, Object: map[string]any{"name": other, "alias": "again"}, Version: "*"}}})
			edit(deleteOf(configs.PortalGroupTable, "2"))
			edit(deleteOf(configs.LUNTable, lun+"x"))
			edit(admin.Batch{Delete: append(deleteOf(configs.TargetTable, other).Delete, deleteOf(configs.LUNTable, lun).Delete...)})
			eventually(t, "the other session goes on", func() bool { return w.rounds.Load() > rounds })
		}
	})
	t.Logf("p99 of reads: %v while nothing changed, %v during 100 changes", quiet, loud)
	w.finish(t)
	if len(c.Async) > 0 || strings.Contains(r.Log(), "session lost") {
		t.Errorf("bob hears %+v; or a session was lost", c.Async)
	}
	if c, err := r.Objects(t.Context(), configs.LUNTable); err != nil || len(c) != 2 {
		t.Errorf("objects are left: %+v, %v", c, err)
	}
}

// TestKilledAmongWriters: the daemon is killed while 64 callers make and delete LUNs, each
// with its map. What was acknowledged is there after a restart, and what was not is there
// whole or not at all.
func TestKilledAmongWriters(t *testing.T) {
	g := open(t)
	r := g.rig
	const writers = 64
	for round := range 4 {
		var all sync.WaitGroup
		said := make([]map[string]bool, writers) // LUN -> is it there; missing: not known
		var acknowledged atomic.Int64
		ctx, cancel := context.WithCancel(t.Context())
		for w := range writers {
			said[w] = map[string]bool{}
			c := admin.NewClient(r.socket())
			if w%2 == 1 { // half of them over the network
				var err error
				if c, err = admin.NewRemoteClient(admin.Remote{URL: "http://" + g.address, Token: writeToken}); err != nil {
					t.Fatal(err)
				}
			}
			defer c.Close()
			all.Go(func() { writeUntilKilled(ctx, c, fmt.Sprintf("r%dw%d", round, w), said[w], &acknowledged) })
		}
		enough := int64(5 + rand.IntN(40)) // any moment will do
		eventually(t, "changes are acknowledged", func() bool { return acknowledged.Load() >= enough })
		r.Kill()
		cancel()
		all.Wait()
		r.Restart()
		has := r.mapped(t)
		known := 0
		for _, one := range said {
			for name, there := range one {
				known++
				if has[name] != there {
					t.Errorf("round %d: LUN %s is there: %v, and was acknowledged: %v", round, name, has[name], there)
				}
			}
		}
		t.Logf("round %d: %d acknowledged changes, %d LUNs", round, known, len(has))
	}
	before, err := r.Export(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.Kill()
	r.Restart()
	if after, err := r.Export(t.Context()); err != nil || after != before {
		t.Errorf("after SIGKILL:\n%s\nbefore:\n%s\n%v", after, before, err)
	}
}

// writeUntilKilled makes LUNs and deletes every other one, and notes what it was told.
func writeUntilKilled(ctx context.Context, c *admin.Client, prefix string, said map[string]bool, acknowledged *atomic.Int64) {
	for i := 0; ; i++ {
		name := fmt.Sprintf("%sn%d", prefix, i)
		if _, err := c.Edit(ctx, makeLUN(name, daemon.Target)); err != nil {
			return // whether it is made is not known
		}
		said[name] = true
		acknowledged.Add(1)
		if i%2 == 0 {
			continue
		}
		delete(said, name) // from here on, until it is acknowledged
		if _, err := c.Edit(ctx, deleteOf(configs.LUNTable, name)); err != nil {
			return
		}
		said[name] = false
		acknowledged.Add(1)
	}
}

// TestKilledAmongCounters: 64 callers count in one object, each on from what the last has
// left, and the daemon is killed. No count is lost: there are as many as were acknowledged,
// and for each caller at most the one that it had no answer to.
func TestKilledAmongCounters(t *testing.T) {
	r := start(t, rule{alice, []string{"a"}})
	if _, err := r.Edit(t.Context(), admin.Batch{Put: []admin.Put{{Table: configs.LUNTable, Object: map[string]any{"name": "count", "kind": "null", "size": "1MiB", "product": "0"}}}}); err != nil {
		t.Fatal(err)
	}
	const counters = 64
	for round := range 3 {
		var all sync.WaitGroup
		var counted atomic.Int64
		begin := r.count(t)
		ctx, cancel := context.WithCancel(t.Context())
		for range counters {
			all.Go(func() { countUntilKilled(ctx, r.socket(), &counted) })
		}
		enough := int64(1 + rand.IntN(10))
		eventually(t, "it is counted", func() bool { return counted.Load() >= enough })
		r.Kill()
		cancel()
		all.Wait()
		r.Restart()
		least := begin + int(counted.Load())
		if got := r.count(t); got < least || got > least+counters {
			t.Errorf("round %d: counted from %d to %d, and %d were acknowledged", round, begin, got, counted.Load())
		}
		t.Logf("round %d: counted %d", round, counted.Load())
	}
}

// count is how far the callers have counted.
func (r *rig) count(t *testing.T) int {
	t.Helper()
	o, err := r.Object(t.Context(), configs.LUNTable, "count")
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(o.Text("product"))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// countUntilKilled adds one to what it has read, and tries again when somebody else was faster.
func countUntilKilled(ctx context.Context, socket string, counted *atomic.Int64) {
	c := admin.NewClient(socket)
	defer c.Close()
	for ctx.Err() == nil {
		o, err := c.Object(ctx, configs.LUNTable, "count")
		if err != nil {
			return
		}
		n, err := strconv.Atoi(o.Text("product"))
		if err != nil {
			return
		}
		o.Object["product"] = strconv.Itoa(n + 1)
		_, err = c.Edit(ctx, admin.Batch{Put: []admin.Put{{Table: configs.LUNTable, Object: o.Object, Version: o.Version}}})
		var stale *provision.StaleError
		switch {
		case err == nil:
			counted.Add(1)
		case !errors.As(err, &stale) && !strings.Contains(err.Error(), "somebody else has changed"):
			return
		}
	}
}

// mapped are the LUNs that were made; each has its one map, and a number of its own.
func (r *rig) mapped(t *testing.T) map[string]bool {
	t.Helper()
	luns, err := r.Objects(t.Context(), configs.LUNTable)
	if err != nil {
		t.Fatal(err)
	}
	maps, err := r.Objects(t.Context(), configs.MapTable)
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, m := range maps {
		count[m.Text("lun")]++
	}
	has := map[string]bool{}
	for _, l := range luns {
		if l.Made {
			has[l.Name] = true
			if count[l.Name] != 1 {
				t.Errorf("LUN %s has %d maps", l.Name, count[l.Name])
			}
			delete(count, l.Name)
		}
	}
	for name, n := range count {
		t.Errorf("%d maps are of LUN %s, which is not there", n, name)
	}
	return has
}
