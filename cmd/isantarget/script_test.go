package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/urfave/cli/v2"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/internal/loopdevice"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/provision"
	"github.com/isantarget/isantarget/test/daemon"
)

// TestScripts runs the scripts in testdata/script: every verb, against a daemon. $PORT
// and $PORT2 are free.
func TestScripts(t *testing.T) { runScripts(t, "testdata/script", "") }

// TestScriptsOnExt4 runs those in testdata/ext4, in folders on such a file system, and those
// in testdata/slow on one whose space has to be taken by writing zeros.
func TestScriptsOnExt4(t *testing.T) {
	for dir, options := range map[string][]string{"ext4": nil, "slow": {"-O", "^extent,^64bit,^has_journal", "-E", "lazy_itable_init=1"}} {
		t.Run(dir, func(t *testing.T) {
			disk := filepath.Join(t.TempDir(), "disk")
			if err := os.WriteFile(disk, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(disk, 12<<30); err != nil {
				t.Fatal(err)
			}
			device := loopdevice.New(t, loopdevice.Options{File: disk})
			runScripts(t, filepath.Join("testdata", dir), loopdevice.Format(t, device, "ext4", options...))
		})
	}
}

func runScripts(t *testing.T, dir, root string) {
	bin := t.TempDir()
	// What only asks a daemon is not the binary with the race detector: that takes long to begin. It is written
	// before the scripts begin, side by side: a file that is open for writing in a process that one of them has
	// just begun cannot be executed by another.
	choice := fmt.Sprintf("#!/bin/sh\ncase $1 in\nserve) exec %s \"$@\" ;;\n*) exec %s \"$@\" ;;\nesac\n", daemon.Binary(), daemon.Client())
	if err := os.WriteFile(filepath.Join(bin, "isantarget"), []byte(choice), 0o755); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: dir, WorkdirRoot: root,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", bin+string(filepath.ListSeparator)+e.Getenv("PATH"))
			e.Setenv("PORT", fmt.Sprint(daemon.FreePort(t)))
			e.Setenv("PORT2", fmt.Sprint(daemon.FreePort(t)))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"await": await, "expand": expand, "finds": finds, "reserves": reserves, "counted": counted, "json": isJSON,
		},
	})
}

// TestShells says of which shells the completion is tested: those that use.txtar finds.
func TestShells(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		t.Run(shell, func(t *testing.T) {
			if _, err := exec.LookPath(shell); err != nil {
				t.Skipf("its completion is not tested: %v", err)
			}
		})
	}
}

// TestEveryVerbHasAScript that runs it with success.
func TestEveryVerbHasAScript(t *testing.T) {
	files, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	var ran []string
	for _, name := range files {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(archive.Comment)) {
			line = strings.TrimSpace(line)
			if strings.HasSuffix(line, "&") { // what runs until the daemon ends, or is killed
				line = strings.TrimPrefix(line, "! ")
			}
			if words, ok := strings.CutPrefix(line, "exec isantarget "); ok {
				ran = append(ran, words+" ")
			}
		}
	}
	eachVerb("", application(io.Discard, io.Discard).Commands, func(name string, _ *cli.Command) {
		if !slices.ContainsFunc(ran, func(words string) bool { return strings.HasPrefix(words, name+" ") }) {
			t.Errorf("no script in testdata runs isantarget %s", name)
		}
	})
}

// eachVerb calls do for each command that has none below it, with its name: "lun fault set".
func eachVerb(path string, commands []*cli.Command, do func(name string, c *cli.Command)) {
	for _, c := range commands {
		name := strings.TrimSpace(path + " " + c.Name)
		if len(c.Subcommands) > 0 {
			eachVerb(name, c.Subcommands, do)
		} else {
			do(name, c)
		}
	}
}

// TestEveryVerbSpeaksToPrograms: --json is a flag of each, but for those whose output is none
// of data.
func TestEveryVerbSpeaksToPrograms(t *testing.T) {
	eachVerb("", application(io.Discard, io.Discard).Commands, func(name string, c *cli.Command) {
		if !hasFlag(c, "json") && !slices.Contains([]string{"serve", "healthcheck", "completion", "man"}, name) {
			t.Errorf("isantarget %s has no --json", name)
		}
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

// json wants that standard output was one JSON value, and that nothing else was there.
func isJSON(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: json")
	}
	if text := ts.ReadFile("stdout"); !json.Valid([]byte(text)) {
		ts.Fatalf("this is no JSON:\n%s", text)
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

// reserves TARGET NUMBER logs in, registers the key 1234h, reserves the disk, and stays until
// it is asked to log out.
func reserves(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: reserves TARGET NUMBER")
	}
	var lun uint8
	_, err := fmt.Sscan(args[1], &lun)
	ts.Check(err)
	c, err := initiator.Dial("127.0.0.1:"+ts.Getenv("PORT"), initiator.Options{})
	ts.Check(err)
	ts.Defer(func() { c.Close() })
	ts.Check(c.Login(initiator.Login{InitiatorName: "iqn.2026-11.org.isantarget.test:script", TargetName: args[0], SessionType: "Normal", ISID: initiator.RandomISID(),
		Keys: []iscsi.KeyValue{{Key: "InitialR2T", Value: "No"}}}))
	register, reserve := make([]byte, 24), make([]byte, 24)
	binary.BigEndian.PutUint64(register[8:], 0x1234)
	binary.BigEndian.PutUint64(reserve, 0x1234)
	for _, command := range []initiator.Command{
		{CDB: make([]byte, 6)}, // takes the unit attention
		{CDB: []byte{0x5f, 6, 0, 0, 0, 0, 0, 0, 24, 0}, Write: register}, {CDB: []byte{0x5f, 1, 1, 0, 0, 0, 0, 0, 24, 0}, Write: reserve},
	} {
		command.LUN = initiator.LUN(lun)
		r, err := c.Execute(command)
		ts.Check(err)
		if r.Status != 0 && command.Write != nil {
			ts.Fatalf("% x: status %02x", command.CDB, r.Status)
		}
	}
	go func() {
		for len(c.Async) == 0 {
			if c.Pump() != nil {
				return
			}
		}
		_, _ = c.Logout(iscsi.CloseSession, 0)
	}()
}

// counted SOCKET LUN FILE wants that the daemon at SOCKET has counted for LUN as many
// reads and bytes as the result of bench in FILE says.
func counted(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: counted SOCKET LUN FILE")
	}
	var result struct{ Total, Block uint64 }
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[2])), &result))
	client := admin.NewClient(ts.MkAbs(args[0]))
	defer client.Close()
	// A command is counted when its answer is out, which may be a little after it is read.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		status, err := client.Load(context.Background())
		ts.Check(err)
		i := slices.IndexFunc(status.LUNs, func(l provision.LUNLoad) bool { return l.Name == args[1] })
		if i < 0 {
			ts.Fatalf("there is no LUN %s", args[1])
		}
		got := status.LUNs[i].Read
		if result.Total > 0 && got.Operations == result.Total && got.Bytes == result.Total*result.Block {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("bench has had %d reads of %d bytes, the daemon counts %d of %d bytes in all", result.Total, result.Block, got.Operations, got.Bytes)
		}
	}
}
