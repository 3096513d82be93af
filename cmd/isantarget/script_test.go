package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/test/daemon"
)

// TestScripts runs the scripts in testdata/script: every verb, against a daemon. $PORT
// and $PORT2 are free.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			bin := filepath.Join(e.WorkDir, ".bin")
			if err := os.Mkdir(bin, 0o755); err != nil {
				return err
			}
			if err := os.Symlink(daemon.Binary(), filepath.Join(bin, "isantarget")); err != nil {
				return err
			}
			e.Setenv("PATH", bin+string(filepath.ListSeparator)+e.Getenv("PATH"))
			e.Setenv("PORT", fmt.Sprint(daemon.FreePort(t)))
			e.Setenv("PORT2", fmt.Sprint(daemon.FreePort(t)))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"await": await, "expand": expand, "finds": finds,
		},
	})
}

// await FILE waits until a file is there: the ready file of a daemon.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: await FILE")
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s does not come; the log: %s", args[0], ts.ReadFile("log"))
		}
	}
}

// expand FILE... puts the values of variables into files.
func expand(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		text := os.Expand(ts.ReadFile(name), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
	}
}

// finds TARGET NUMBER SERIAL logs in, and finds the disk of that serial there; "!" wants that
// there is none.
func finds(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: finds TARGET NUMBER SERIAL")
	}
	var lun uint8
	_, err := fmt.Sscan(args[1], &lun)
	ts.Check(err)
	c, err := initiator.Dial("127.0.0.1:"+ts.Getenv("PORT"), initiator.Options{})
	ts.Check(err)
	defer c.Close()
	ts.Check(c.Login(initiator.Login{InitiatorName: "iqn.2026-11.org.isantarget.test:script", TargetName: args[0], SessionType: "Normal", ISID: initiator.RandomISID(),
		Keys: []iscsi.KeyValue{{Key: "InitialR2T", Value: "No"}}}))
	r, err := c.Execute(initiator.Command{LUN: initiator.LUN(lun), CDB: []byte{0x12, 1, 0x80, 0, 255, 0}, Read: 255})
	ts.Check(err)
	found := r.Status == 0 && len(r.Data) > 4 && strings.TrimSpace(string(r.Data[4:4+r.Data[3]])) == args[2]
	if found == neg {
		ts.Fatalf("LUN %d of %s: status %02x, data % x; serial %s, found %v", lun, args[0], r.Status, r.Data, args[2], found)
	}
}
