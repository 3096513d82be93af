package powercut

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isantarget/isantarget/test/daemon"
)

func TestMain(m *testing.M) { os.Exit(daemon.Main(m)) }

// A crew is workers on one LUN, each with blocks of its own.
type crew []*Worker

// newCrew makes workers for a LUN of so many blocks, all zeros.
func newCrew(seed uint64, blocks, blockSize int) crew {
	const workers = 4
	var all crew
	share := blocks / workers
	for i := range workers {
		all = append(all, &Worker{
			Ledger: NewLedger(uint32(i*share), share, blockSize), Target: daemon.Target,
			Name:    fmt.Sprintf("iqn.2026-11.org.isantarget.test:worker%d", i),
			Chances: rand.New(rand.NewPCG(seed, uint64(i))),
		})
	}
	return all
}

// login logs all in at address.
func (all crew) login(t *testing.T, address string) {
	t.Helper()
	for _, w := range all {
		w.Address = address
		if err := w.Login(); err != nil {
			t.Fatalf("%s: %v", w.Name, err)
		}
	}
}

// work has all work until pull has pulled the plug, and a moment more.
func (all crew) work(pull func()) {
	var stop atomic.Bool
	var running sync.WaitGroup
	for _, w := range all {
		running.Go(func() { w.Run(&stop) })
	}
	pull()
	stop.Store(true)
	running.Wait()
}

// check has all look at what is left.
func (all crew) check(t *testing.T, cycle int) (wrong []string) {
	t.Helper()
	for _, w := range all {
		wrong = append(wrong, w.Wrong...)
		w.Wrong = nil
		found, err := w.Check()
		if err != nil {
			t.Fatalf("cycle %d, %s: %v", cycle, w.Name, err)
		}
		wrong = append(wrong, found...)
	}
	return wrong
}

// report fails the test for what is wrong.
func report(t *testing.T, cycle int, wrong []string) {
	t.Helper()
	for i, w := range wrong {
		if i == 10 {
			t.Errorf("cycle %d: and %d more", cycle, len(wrong)-i)
			break
		}
		t.Errorf("cycle %d: %s", cycle, w)
	}
}

// leave ends the sessions, so that a daemon that stops need not wait for them.
func (all crew) leave() {
	for _, w := range all {
		w.Close()
	}
}

// enough tells whether there were as many cycles as there are to be, and they were worth the while. A machine that is busy
// gets little done in a cycle, and has more of them.
func (all crew) enough(cycle, cycles int) bool {
	commands := 0
	for _, w := range all {
		commands += w.Commands
	}
	return cycle >= cycles && (commands >= 4*cycles || cycle >= 10*cycles)
}

// tell says what the workers did, and that it was worth the while.
func (all crew) tell(t *testing.T, cycles int) {
	t.Helper()
	commands, promises, survivors := 0, 0, 0
	for _, w := range all {
		commands, promises, survivors = commands+w.Commands, promises+w.Promises, survivors+w.Survivors
	}
	t.Logf("%d cycles: %d commands, %d blocks as promised, %d with a value written since", cycles, commands, promises, survivors)
	if commands < 4*cycles {
		t.Errorf("only %d commands in %d cycles", commands, cycles)
	}
}

// until waits until done, for three minutes at most.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("for three minutes it is not so that %s", what)
		}
	}
}
