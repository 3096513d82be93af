package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/test/daemon"
)

// login opens a session with LUN 0 of d.
func login(t *testing.T, d *daemon.Daemon, chap *initiator.CHAP) (*initiator.Connection, error) {
	t.Helper()
	c, err := initiator.Dial(d.Address(), initiator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, c.Login(initiator.Login{
		InitiatorName: "iqn.2026-11.org.isantarget.test:initiator", TargetName: daemon.Target, SessionType: "Normal",
		ISID: initiator.RandomISID(), CHAP: chap,
	})
}

// execute runs a command, again after unit attentions.
func execute(t *testing.T, c *initiator.Connection, cmd initiator.Command) *initiator.Result {
	t.Helper()
	for {
		r, err := c.Execute(cmd)
		if err != nil {
			t.Fatal(err)
		}
		if key, _ := r.SenseCode(); r.Status != 2 || key != 6 {
			return r
		}
	}
}

// TestServeWithoutAnArgument needs port 3260, so it is skipped where that is taken.
func TestServeWithoutAnArgument(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:3260")
	if err != nil {
		t.Skipf("port 3260 of this host is taken: %v", err)
	}
	l.Close()
	p := newProcess(t, "serve")
	p.await("--login")
	want := "iqn.2026-11.org.isantarget:san\n" +
		"  on 127.0.0.1:3260, for this host only\n" +
		"  LUN 0: disk0, 10 GiB, file " + p.cmd.Dir + "/isantarget-data/disk0.img\n\n" +
		"Logins are accepted. To use it:\n" +
		"  iscsi-ls -s iscsi://127.0.0.1:3260\n" +
		"  qemu-img info iscsi://127.0.0.1:3260/iqn.2026-11.org.isantarget:san/0\n" +
		"  iscsiadm -m discovery -t sendtargets -p 127.0.0.1:3260\n" +
		"  iscsiadm -m node -T iqn.2026-11.org.isantarget:san -p 127.0.0.1:3260 --login\n"
	if got := p.stdout.String(); got != want {
		t.Errorf("it printed\n%s\nwant\n%s", got, want)
	}
	image := filepath.Join(p.cmd.Dir, "isantarget-data/disk0.img")
	if info, err := os.Stat(image); err != nil || info.Size() != 10<<30 || daemon.Allocated(t, image) > 1<<20 {
		t.Errorf("image: %v, %v, want 10 GiB that take no space", info, err)
	}
	p.signal(syscall.SIGINT)
	if status := p.wait(); status != 0 {
		t.Errorf("status %d on SIGINT\n%s", status, p.stderr.String())
	}
}

// TestDataOutliveTheProcess: however it ends.
func TestDataOutliveTheProcess(t *testing.T) {
	image := filepath.Join(t.TempDir(), "a.img")
	d := daemon.Start(t, daemon.Config{LUNs: []string{"a=" + image + ",size=1MiB"}})
	block := func(lba byte) []byte { return bytes.Repeat([]byte{lba + 1}, 512) }
	for lba, end := range []func(){d.Kill, d.Stop} {
		c, err := login(t, d, nil)
		if err != nil {
			t.Fatal(err)
		}
		r := execute(t, c, initiator.Command{CDB: []byte{0x2a, 0, 0, 0, 0, byte(lba), 0, 0, 1, 0}, Write: block(byte(lba))})
		if r.Status != 0 {
			t.Fatalf("WRITE (10): status %02x, sense %x", r.Status, r.Sense)
		}
		end()
		if left, err := os.ReadFile(image); err != nil || !bytes.Equal(left[512*lba:][:512], block(byte(lba))) {
			t.Errorf("block %d is not in the image: %v", lba, err)
		}
		d.Restart()
	}
	c, err := login(t, d, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := execute(t, c, initiator.Command{CDB: []byte{0x28, 0, 0, 0, 0, 0, 0, 0, 2, 0}, Read: 1024})
	if !bytes.Equal(r.Data, append(block(0), block(1)...)) {
		t.Errorf("READ (10) after two restarts: % .8x...", r.Data)
	}
}

// TestStopping: on SIGTERM initiators are asked to log out (RFC 7143 11.9.1,
// event 1), new ones are refused, and the exit status is 0 once all are gone.
func TestStopping_RFC7143_11_9_1(t *testing.T) {
	d := daemon.Start(t, daemon.Config{LUNs: []string{"a=,kind=memory,size=1MiB"}})
	c, err := login(t, d, nil)
	if err != nil {
		t.Fatal(err)
	}
	d.Signal(syscall.SIGTERM)
	for len(c.Async) == 0 {
		if err := c.Pump(); err != nil {
			t.Fatalf("waiting for the Async Message: %v", err)
		}
	}
	if c.Async[0].Event != iscsi.AsyncLogoutRequest {
		t.Errorf("async event %v, want a logout request", c.Async[0].Event)
	}
	if d.Accepts() {
		t.Error("connections are still accepted")
	}
	if _, err := c.Logout(iscsi.CloseSession, 0); err != nil {
		t.Errorf("logout: %v", err)
	}
	if err := d.Wait(); err != nil {
		t.Errorf("exit: %v", err)
	}
	if !strings.Contains(d.Log(), "stopped: all that was written is on the disk") {
		t.Error("the log does not say that it stopped")
	}
}

// TestSecondSignal: an initiator that does not log out holds the first for the
// drain timeout, and the second not at all.
func TestSecondSignal(t *testing.T) {
	p := newProcess(t, "serve", "--portal", "127.0.0.1:0", "--target", daemon.Target, "--ready-file", "ready", "--lun", "a=,kind=memory,size=1MiB")
	p.await("--login")
	ready, err := os.ReadFile(filepath.Join(p.cmd.Dir, "ready"))
	if err != nil {
		t.Fatal(err)
	}
	address, _, _ := strings.Cut(strings.TrimPrefix(string(ready), "iscsi://"), "/")
	c, err := initiator.Dial(address, initiator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login(initiator.Login{InitiatorName: "iqn.2026-11.org.isantarget.test:i", TargetName: daemon.Target, SessionType: "Normal", ISID: initiator.RandomISID()}); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGTERM)
	for len(c.Async) == 0 { // so the first has been heard
		if err := c.Pump(); err != nil {
			t.Fatal(err)
		}
	}
	p.signal(syscall.SIGTERM)
	if status := p.wait(); status != 1 || !strings.Contains(p.stderr.String(), "ended at once") {
		t.Errorf("status %d, want 1 and a word why\n%s", status, p.stderr.String())
	}
}

// TestReadyFile: it is there while logins are accepted, whole, a URL for each
// portal and LUN.
func TestReadyFile(t *testing.T) {
	port := daemon.FreePort(t)
	p := newProcess(t, "serve", "--portal", fmt.Sprintf("127.0.0.1:%d", port), "--portal", fmt.Sprintf("[::1]:%d", port), "--target", daemon.Target,
		"--ready-file", "ready", "--lun", "a=a.img,size=1MiB", "--lun", "b=,kind=memory,size=1MiB")
	p.await("--login")
	file := filepath.Join(p.cmd.Dir, "ready")
	text, err := os.ReadFile(file)
	want := fmt.Sprintf("iscsi://127.0.0.1:%d/%[2]s/0\niscsi://127.0.0.1:%[1]d/%s/1\niscsi://[::1]:%[1]d/%[2]s/0\niscsi://[::1]:%[1]d/%[2]s/1\n", port, daemon.Target)
	if err != nil || string(text) != want {
		t.Errorf("ready file:\n%s%v\nwant\n%s", text, err, want)
	}
	p.signal(syscall.SIGTERM)
	if status := p.wait(); status != 0 {
		t.Errorf("status %d\n%s", status, p.stderr.String())
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the ready file after the end: %v", err)
	}
	entries, _ := os.ReadDir(p.cmd.Dir)
	for _, e := range entries {
		if e.Name() != "a.img" && e.Name() != "isantarget-data" {
			t.Errorf("%s was left behind", e.Name())
		}
	}
}

// TestReadyFileThatCannotBeWritten stops what has just been started.
func TestReadyFileThatCannotBeWritten(t *testing.T) {
	got := isantarget(t, t.TempDir(), nil, "serve", "--portal", "127.0.0.1:0", "--ready-file", "no/such/folder/ready", "--log-level", "error")
	if got.status != 1 || !strings.HasPrefix(got.stderr, "isantarget: cannot write the ready file: ") || strings.Count(got.stderr, "\n") != 1 {
		t.Errorf("%+v", got)
	}
}

// TestEnvironment: variables stand for flags, and flags win.
func TestEnvironment(t *testing.T) {
	p := newProcess(t, "serve", "--log-level", "info")
	p.cmd.Env = append(os.Environ(), "ISANTARGET_PORTAL=127.0.0.1:0 [::1]:0", "ISANTARGET_LUN=a=a.img,size=1MiB b=,kind=memory,size=2MiB", "ISANTARGET_STATE=s",
		"ISANTARGET_TARGET="+daemon.Target, "ISANTARGET_ACCESS=open", "ISANTARGET_READY_FILE=ready", "ISANTARGET_LOG_FORMAT=json", "ISANTARGET_LOG_LEVEL=error")
	p.await("--login")
	for _, want := range []string{daemon.Target + "\n", "[::1]:", "for everybody", "LUN 1: b, 2.0 MiB, memory"} {
		if !strings.Contains(p.stdout.String(), want) {
			t.Errorf("it printed\n%s\nwithout %q", p.stdout.String(), want)
		}
	}
	for _, file := range []string{"s/serial/a", "a.img", "ready"} {
		if _, err := os.Stat(filepath.Join(p.cmd.Dir, file)); err != nil {
			t.Error(err)
		}
	}
	p.signal(syscall.SIGTERM)
	p.wait()
	lines := 0
	for line := range strings.Lines(p.stderr.String()) {
		var entry struct{ Level, Msg, Time string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Level == "" || entry.Msg == "" || entry.Time == "" {
			t.Errorf("log line %q: %v", line, err)
		}
		lines++
	}
	if lines < 2 {
		t.Errorf("%d log lines, want that it stops and has stopped", lines)
	}
}

// TestSystemd: READY=1 when logins are accepted, STOPPING=1 when it stops.
func TestSystemd(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.SetReadDeadline(time.Now().Add(time.Minute))
	p := newProcess(t, "serve", "--portal", "127.0.0.1:0", "--ready-file", "ready")
	p.cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+socket)
	p.start()
	for _, want := range []string{"READY=1", "STOPPING=1"} {
		message := make([]byte, 100)
		n, err := l.Read(message)
		if err != nil || string(message[:n]) != want {
			t.Fatalf("notification %q, %v, want %s\n%s", message[:n], err, want, p.stderr.String())
		}
		if want == "READY=1" {
			if _, err := os.Stat(filepath.Join(p.cmd.Dir, "ready")); err != nil {
				t.Errorf("ready, and %v", err)
			}
			p.signal(syscall.SIGTERM)
		}
	}
	p.wait()
}

// TestCHAPByFlags: and no secret is shown anywhere.
func TestCHAPByFlags(t *testing.T) {
	dir := t.TempDir()
	const theirs, ours = "secret of theirs", "secret of ours"
	for file, secret := range map[string]string{"theirs": theirs, "ours": ours} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d := daemon.Start(t, daemon.Config{
		LUNs: []string{"a=,kind=memory,size=1MiB"},
		Args: []string{"--chap", "alice:" + filepath.Join(dir, "theirs"), "--mutual-chap", "san:" + filepath.Join(dir, "ours"), "--log-level", "debug"},
	})
	if _, err := login(t, d, &initiator.CHAP{User: "alice", Secret: theirs, TargetUser: "san", TargetSecret: ours}); err != nil {
		t.Errorf("login: %v", err)
	}
	for _, bad := range []*initiator.CHAP{nil, {User: "alice", Secret: ours}} {
		var refusal *initiator.Refusal
		if _, err := login(t, d, bad); !errors.As(err, &refusal) || refusal.Status != iscsi.LoginAuthenticationFailure {
			t.Errorf("login as %+v: %v, want an authentication failure", bad, err)
		}
	}
	log := d.Log()
	if strings.Contains(log, theirs) || strings.Contains(log, ours) {
		t.Errorf("a secret is in the log:\n%s", log)
	}
	for _, want := range []string{"LIBISCSI_CHAP_USERNAME=alice", "node.session.auth.username -v alice", "$(cat " + filepath.Join(dir, "theirs") + ")"} {
		if !strings.Contains(log, want) {
			t.Errorf("the commands do not say %s:\n%s", want, log)
		}
	}
}

// TestUnreadableImageStopsItsLUN: the daemon serves the others.
func TestUnreadableImageStopsItsLUN(t *testing.T) {
	dir := t.TempDir()
	d := daemon.Start(t, daemon.Config{LUNs: []string{"bad=" + dir, "good=,kind=memory,size=1MiB"}})
	c, err := login(t, d, nil)
	if err != nil {
		t.Fatal(err)
	}
	if key, code := execute(t, c, initiator.Command{CDB: make([]byte, 6)}).SenseCode(); key != 2 || code != 0x0403 {
		t.Errorf("the bad LUN: sense %x/%04x, want 2/0403", key, code)
	}
	if r := execute(t, c, initiator.Command{LUN: initiator.LUN(1), CDB: make([]byte, 6)}); r.Status != 0 {
		t.Errorf("the good LUN: status %02x", r.Status)
	}
	if log := d.Log(); !strings.Contains(log, "lun=bad") || !strings.Contains(log, "it is a folder, not an image file") {
		t.Errorf("the log does not say why:\n%s", log)
	}
}

// TestReaderOfTheLogGoesAway: the disks stay.
func TestReaderOfTheLogGoesAway(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	port := daemon.FreePort(t)
	p := newProcess(t, "serve", "--portal", fmt.Sprintf("127.0.0.1:%d", port), "--ready-file", "ready", "--lun", "a=,kind=memory,size=1MiB")
	p.cmd.Stdout, p.cmd.Stderr = write, write
	p.start()
	write.Close()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(p.cmd.Dir, "ready")); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no ready file")
		}
	}
	read.Close()
	for range 3 { // each is a line in the log
		if got := isantarget(t, "", nil, "healthcheck", "--portal", fmt.Sprintf(":%d", port)); got.status != 0 {
			t.Fatalf("healthcheck: %+v", got)
		}
	}
	p.signal(syscall.SIGTERM)
	if status := p.wait(); status != 0 {
		t.Errorf("status %d on SIGTERM", status)
	}
}

func TestHealthcheck(t *testing.T) {
	d := daemon.Start(t, daemon.Config{LUNs: []string{"a=,kind=memory,size=1MiB"}})
	_, port, _ := net.SplitHostPort(d.Address())
	for _, environment := range [][]string{nil, {"ISANTARGET_PORTAL=127.0.0.1:" + port + " [::1]:1"}, {"ISANTARGET_HEALTHCHECK_PORTAL=:" + port, "ISANTARGET_PORTAL=:1"}} {
		args := []string{"healthcheck"}
		if environment == nil {
			args = append(args, "--portal", "0.0.0.0:"+port)
		}
		if got := isantarget(t, "", environment, args...); got != (result{}) {
			t.Errorf("%v of a healthy daemon: %+v", environment, got)
		}
	}
	if strings.Contains(d.Log(), "level=warning") {
		t.Errorf("being asked worries the daemon:\n%s", d.Log())
	}
	d.Stop()
	if got := isantarget(t, "", nil, "healthcheck", "--portal", d.Address()); got.status != 1 || !strings.Contains(got.stderr, "connection refused") {
		t.Errorf("without a daemon: %+v", got)
	}
}

// TestHealthcheckOfOthers: an open port is not a target.
func TestHealthcheckOfOthers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for _, answer := range []string{"", "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n0123456789"} {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Read(make([]byte, 1024))
			conn.Write([]byte(answer))
			conn.Close()
		}
	}()
	for _, want := range []string{"no answer to a login", "the answer to a login is none"} {
		if got := isantarget(t, "", nil, "healthcheck", "--portal", l.Addr().String()); got.status != 1 || !strings.Contains(got.stderr, want) {
			t.Errorf("%+v, want %q", got, want)
		}
	}
}
