package isns

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/isantarget/isantarget/test/daemon"
	"github.com/isantarget/isantarget/test/peer"
)

// A server is an isnsd on a port of 127.0.0.1, and the isnsadm for it.
type server struct {
	t    *testing.T
	dir  string
	port int
	cmd  *exec.Cmd
}

// startServer starts one with further settings of isnsd.conf; its configuration and its
// database are its own.
func startServer(t *testing.T, settings ...string) *server {
	t.Helper()
	peer.Need(t, "open-isns-server", "open-isns-utils")
	s := &server{t: t, dir: t.TempDir(), port: daemon.FreePort(t)}
	common := fmt.Sprintf("Security = 0\nControlSocket = %s\nServerAddress = 127.0.0.1:%d\n", filepath.Join(s.dir, "control"), s.port)
	s.write("isnsd.conf", common, "SourceName = iqn.2026-11.org.isantarget.test:isnsd\n", "SLPRegister = 0\nDefaultDiscoveryDomain = 1\n",
		fmt.Sprintf("Database = %s\nPIDFile = %s\nBindAddress = 127.0.0.1:%d\n", s.database(), filepath.Join(s.dir, "pid"), s.port),
		strings.Join(settings, "\n"), "\n")
	for _, node := range []string{host, alpha} {
		s.write(node, common, "SourceName = "+node+"\n")
	}
	t.Cleanup(func() {
		s.kill()
		if log, err := os.ReadFile(filepath.Join(s.dir, "log")); t.Failed() {
			t.Logf("the end of isnsd's log, %v:\n%s", err, log[max(0, len(log)-8<<10):])
		}
	})
	s.start()
	return s
}

func (s *server) write(name string, text ...string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(strings.Join(text, "")), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) database() string { return filepath.Join(s.dir, "db") }

// start starts the process, and waits until it accepts connections.
func (s *server) start() {
	s.t.Helper()
	if err := os.MkdirAll(s.database(), 0o700); err != nil {
		s.t.Fatal(err)
	}
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	s.cmd = exec.Command("isnsd", "--config", filepath.Join(s.dir, "isnsd.conf"), "--foreground", "--debug", "scn,esi")
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, "isnsd accepts connections", func() bool {
		c, err := net.Dial("tcp", s.address())
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

func (s *server) address() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// kill ends the process as a crash would.
func (s *server) kill() {
	if s.cmd != nil {
		s.cmd.Process.Kill()
		s.cmd.Wait()
		s.cmd = nil
	}
}

// lose has a killed server forget what was registered.
func (s *server) lose() {
	s.t.Helper()
	if err := os.RemoveAll(s.database()); err != nil {
		s.t.Fatal(err)
	}
}

// admin runs isnsadm in the name of the initiator, and returns what it prints.
func (s *server) admin(args ...string) string {
	s.t.Helper()
	return s.as(host, args...)
}

// as does so in the name of a node.
func (s *server) as(node string, args ...string) string {
	s.t.Helper()
	cmd := exec.Command("isnsadm", append([]string{"--config", filepath.Join(s.dir, node)}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("isnsadm %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// list are the objects of a kind, one line each: "a name = value, another = value".
func (s *server) list(kind string) []string {
	s.t.Helper()
	return objects(s.admin("--local", "--list", kind))
}

// kept are the objects of its database as it lies in its files, which asks the server nothing:
// it tells every target of each question of isnsadm, and crashes now and then when it has
// much to tell (open-isns 0.101).
func (s *server) kept() []string {
	s.t.Helper()
	out, err := exec.Command("isnsd", "--config", filepath.Join(s.dir, "isnsd.conf"), "--dump-db").CombinedOutput()
	if err != nil {
		return nil // it was being written
	}
	return objects(string(out))
}

var attribute = regexp.MustCompile(`^\s+[0-9a-f]{4}\s+\S+\s+: (.*)$`)

// objects are those that isnsadm has printed, without the indices that the server gives.
func objects(printed string) (all []string) {
	var words []string
	gone := false
	end := func() {
		if len(words) > 0 {
			all = append(all, strings.Join(words, ", "))
		}
		words = nil
	}
	for line := range strings.Lines(printed) {
		if strings.HasPrefix(strings.TrimSpace(line), "Object") {
			end()
			gone = strings.Contains(line, "state=") && !strings.Contains(line, "state=mature")
		}
		if m := attribute.FindStringSubmatch(strings.TrimRight(line, "\n")); m != nil && !gone && !strings.Contains(m[1], " index = ") && !strings.Contains(m[1], "Timestamp") {
			words = append(words, m[1])
		}
	}
	end()
	return all
}

// eventually waits until what is true.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after three minutes: %s", what)
		}
	}
}

// What makes a process hang, and go on.
const (
	stopSignal = syscall.SIGSTOP
	goSignal   = syscall.SIGCONT
)
