package guest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/provision"
	"github.com/isantarget/isantarget/test/daemon"
)

// faultyDisks is how many LUNs break at a time.
const faultyDisks = 10

// A breakage is a kind of fault, in words that choose to what it happens at random.
type breakage func(chances *rand.Rand) string

// breakages are all kinds whose combinations are tried.
func breakages() []breakage {
	where := func(chances *rand.Rand) string {
		rate := fmt.Sprintf(" rate=%d%%", 5+chances.IntN(30))
		switch chances.IntN(4) {
		case 0: // by block, of which there are 4096: Linux tries some times, and then hears of it
			first := chances.IntN(3000)
			return fmt.Sprintf(" lba=%d-%d", first, first+64+chances.IntN(1024))
		case 1: // by count
			return rate + fmt.Sprintf(" after=%d count=%d", chances.IntN(8), 1+chances.IntN(40))
		}
		return rate
	}
	pick := func(chances *rand.Rand, words ...string) string { return words[chances.IntN(len(words))] }
	return []breakage{
		func(c *rand.Rand) string {
			if c.IntN(2) == 0 {
				return "error=" + pick(c, "EIO", "ETIMEDOUT", "EINTR", "ENOMEM") + " on=read" + where(c)
			}
			return "error=" + pick(c, "EIO", "ENOSPC", "EDQUOT", "EROFS") + " on=write" + where(c)
		},
		func(c *rand.Rand) string { return "delay=" + pick(c, "1ms", "10ms") + " on=read+write+sync" + where(c) },
		func(c *rand.Rand) string { return "short on=" + pick(c, "read", "write", "read+write") + where(c) },
		func(c *rand.Rand) string { return "torn on=write" + where(c) },
		func(c *rand.Rand) string { return "lost-sync" },
	}
}

// faultRounds are the faults of each disk in each round: every combination of the kinds, then a sync that fails, alone,
// beside each of them, and beside all, behind which there is less to see; and none.
func faultRounds(chances *rand.Rand) (rounds [][][]string) {
	kinds := breakages()
	combination := func(set int) (words []string) {
		for i, one := range kinds {
			if set>>i&1 != 0 {
				words = append(words, one(chances))
			}
		}
		return words
	}
	var list [][]string
	all := 1<<len(kinds) - 1
	for set := 1; set <= all; set++ {
		list = append(list, combination(set))
	}
	beside := []int{0, all}
	for i := range kinds {
		beside = append(beside, 1<<i)
	}
	for _, set := range beside {
		list = append(list, append(combination(set), fmt.Sprintf("error=EIO on=sync after=%d count=1", chances.IntN(3))))
	}
	for len(list)%faultyDisks != 0 {
		list = append(list, combination(all))
	}
	return append(slices.Collect(slices.Chunk(list, faultyDisks)), make([][]string, faultyDisks))
}

// faults lets disks break under fio, which verifies what it reads: Linux hears of errors, and never reads a wrong byte; a
// write that was acknowledged is there. When nothing is wrong any more, all works.
func faults(t *testing.T, g *Guest) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var luns []string
	for n := range faultyDisks {
		store := ",kind=memory"
		if n%2 == 0 {
			store = filepath.Join(t.TempDir(), "disk.img")
		}
		luns = append(luns, fmt.Sprintf("d%d=%s,size=2MiB,space-threshold=0,fault", n, store))
	}
	d := daemon.Start(t, daemon.Config{LUNs: luns})
	plane := admin.NewClient(filepath.Join(d.State(), admin.SocketName))
	t.Cleanup(plane.Close)
	rounds := faultRounds(rand.New(rand.NewPCG(seed, 1)))
	env := environment(d)
	env["DISKS"], env["ROUNDS"] = strconv.Itoa(faultyDisks), strconv.Itoa(len(rounds))
	s := g.Start(t, bound, env, script(t, "faults"))
	total := tally{struck: map[string]int64{}}
	for n, round := range rounds {
		s.Await(fmt.Sprintf("ready-%d", n+1))
		mend(t, plane)
		for lun, words := range round {
			if err := plane.SetFaults(t.Context(), fmt.Sprintf("d%d", lun), words); err != nil {
				t.Fatal(err)
			}
		}
		s.Signal(fmt.Sprintf("set-%d", n+1))
		s.Await(fmt.Sprintf("done-%d", n+1))
		total.add(t, g, plane, n+1, round)
	}
	t.Logf("the guest:\n%s", s.Wait())
	t.Logf("%d rounds: %d writes and %d reads by fio, %d disks with errors for good, faults that struck: %v", len(rounds), total.writes, total.reads, total.errors, total.struck)
	for kind := range map[string]bool{"error": true, "delay": true, "short": true, "torn": true, "lost-sync": true} {
		if total.struck[kind] == 0 {
			t.Errorf("no fault of kind %s has struck", kind)
		}
	}
	if total.errors == 0 || total.reads == 0 {
		t.Error("fio has met no error, or has read nothing")
	}
}

// mend clears all faults, and has LUNs whose sync has failed go on.
func mend(t *testing.T, plane *admin.Client) {
	t.Helper()
	list, err := plane.LUNs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range list {
		if err := plane.SetFaults(t.Context(), l.Name, nil); err != nil {
			t.Fatal(err)
		}
		if len(l.Alerts) > 0 {
			if err := plane.Recover(t.Context(), l.Name, provision.Recovery{AcceptLoss: true}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A tally is what has happened in all rounds.
type tally struct {
	writes, reads, errors int64
	struck                map[string]int64 // by kind
}

// add judges a round: what fio says of it.
func (a *tally) add(t *testing.T, g *Guest, plane *admin.Client, round int, faults [][]string) {
	t.Helper()
	text, err := os.ReadFile(g.Shared(fmt.Sprintf("fio-%d", round)))
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(g.Shared(fmt.Sprintf("fio-%d.log", round)))
	if err != nil {
		t.Fatal(err)
	}
	type transfers struct {
		Count int64 `json:"total_ios"`
	}
	var said struct {
		Jobs []struct {
			Name        string `json:"jobname"`
			Error       int64
			Read, Write transfers
		}
	}
	// fio tells of errors before the JSON
	if err := json.Unmarshal(text[max(0, strings.Index(string(text), "{\n")):], &said); err != nil || len(said.Jobs) != len(faults) {
		t.Fatalf("round %d: %d jobs, %v: %s\n%s", round, len(said.Jobs), err, text, log)
	}
	const illegalByteSequence = 84 // EILSEQ: what fio calls data that it has not written
	wrong := strings.Contains(string(text)+string(log), "verify:")
	for n, job := range said.Jobs {
		a.writes, a.reads = a.writes+job.Write.Count, a.reads+job.Read.Count
		if job.Error != 0 {
			a.errors++
		}
		if job.Error == illegalByteSequence || wrong || len(faults[n]) == 0 && (job.Error != 0 || job.Read.Count == 0) {
			t.Errorf("round %d, %s with the faults %q: error %d, %d reads\n%s", round, job.Name, faults[n], job.Error, job.Read.Count, log)
		}
		list, err := plane.Faults(t.Context(), fmt.Sprintf("d%d", n))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range list {
			kind, _, _ := strings.Cut(f.Fault, "=")
			kind, _, _ = strings.Cut(kind, " ")
			a.struck[kind] += f.Struck
		}
	}
}
