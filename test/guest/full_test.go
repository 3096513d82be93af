package guest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/internal/loopdevice"
	"github.com/isantarget/isantarget/test/daemon"
	"github.com/isantarget/isantarget/test/peer"
)

const mib = 1 << 20

// smallFileSystem makes a file system on which ballast leaves little room, until that is removed.
func smallFileSystem(t *testing.T, kind string, disk, ballast int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, disk)); err != nil {
		t.Fatal(err)
	}
	folder := loopdevice.Format(t, loopdevice.New(t, loopdevice.Options{File: path}), kind)
	f, err := os.Create(filepath.Join(folder, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Fallocate(int(f.Fd()), 0, 0, ballast), f.Close()); err != nil {
		t.Fatal(err)
	}
	return folder
}

func removeBallast(t *testing.T, folder string) {
	t.Helper()
	if err := os.Remove(filepath.Join(folder, "ballast")); err != nil {
		t.Fatal(err)
	}
}

// fullFileSystems: Linux fills a thin unit until there is no space below it.
func fullFileSystems(t *testing.T, g *Guest) {
	for kind, size := range map[string]struct{ disk, ballast int64 }{"ext4": {64 * mib, 24 * mib}, "xfs": {320 * mib, 210 * mib}} {
		t.Run(kind, func(t *testing.T) { fullFileSystem(t, g, smallFileSystem(t, kind, size.disk, size.ballast)) })
	}
}

func fullFileSystem(t *testing.T, g *Guest, folder string) {
	const size = 96
	image := filepath.Join(folder, "disk.img")
	d := daemon.Start(t, daemon.Config{LUNs: []string{fmt.Sprintf("disk=%s,size=%dMiB,overcommit=allow,space-threshold=20", image, size)}})
	env := environment(d)
	env["MIB"] = strconv.Itoa(size)
	s := g.Start(t, bound, env, script(t, "full"))

	s.Await("full")
	text, err := os.ReadFile(g.Shared("used"))
	if err != nil {
		t.Fatal(err)
	}
	used, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if allocated := daemon.Allocated(t, image); err != nil || int64(used) != allocated/mib {
		t.Errorf("the log page says %q sets of 1 MiB, the image takes %d bytes", text, allocated)
	}
	filled := whole(t, image, 0xa5)
	if filled == 0 || filled == size*mib/4096 {
		t.Errorf("%d blocks were written, want some but not all", filled)
	}
	s.Signal("full-seen")

	s.Await("overwritten")
	if n := whole(t, image, 0xa5, 0x5a); n != filled {
		t.Errorf("after overwriting %d blocks hold something, want %d", n, filled)
	}
	removeBallast(t, folder)
	s.Signal("overwritten-seen")

	s.Await("went-on")
	if n := whole(t, image, 0xa5, 0x5a, 0x3c); n < filled+4*mib/4096 {
		t.Errorf("after the last 4 MiB %d blocks hold something, want %d", n, filled+4*mib/4096)
	}
	s.Signal("went-on-seen")
	t.Logf("the guest:\n%s", s.Wait())
	for _, words := range []string{"has taken", "no space for what is written", "has space again"} {
		if !strings.Contains(d.Log(), words) {
			t.Errorf("the log has no %q", words)
		}
	}
}

// whole counts the blocks of 4096 bytes that hold one of these values. Any other must be all zero: a block that is
// neither is torn.
func whole(t *testing.T, image string, values ...byte) (written int) {
	t.Helper()
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	values = append(values, 0)
	r := bufio.NewReaderSize(f, mib)
	block := make([]byte, 4096)
	for at := 0; ; at++ {
		if _, err := r.Read(block[:1]); err != nil {
			return written
		}
		for n := 1; n < len(block); {
			m, err := r.Read(block[n:])
			if err != nil {
				t.Fatal(err)
			}
			n += m
		}
		if !bytes.Contains(values, block[:1]) || bytes.Count(block, block[:1]) != len(block) {
			t.Fatalf("block %d of the image is torn: it begins with % x and ends with % x", at, block[:8], block[len(block)-8:])
		}
		if block[0] != 0 {
			written++
		}
	}
}

// TestWriteErrorPausesTheMachine: QEMU with werror=enospc on iscsi:// disks pauses when the file system below one is full, and
// `cont` finishes the write when there is room; the system in the machine has met no error.
func TestWriteErrorPausesTheMachine(t *testing.T) {
	peer.Need(t, "qemu-system-x86", "qemu-block-extra", "mmdebstrap", "e2fsprogs", "xfsprogs", "cpio", "xz-utils")
	if os.Geteuid() != 0 {
		t.Skip("building the guest needs root")
	}
	kinds := []string{"ext4", "xfs"}
	folders := []string{smallFileSystem(t, kinds[0], 64*mib, 24*mib), smallFileSystem(t, kinds[1], 320*mib, 210*mib)}
	var config daemon.Config
	for i, kind := range kinds {
		config.LUNs = append(config.LUNs, fmt.Sprintf("%s=%s,size=48MiB,overcommit=allow", kind, filepath.Join(folders[i], "disk.img")))
	}
	d := daemon.Start(t, config)
	sockets, err := os.MkdirTemp("", "isantarget-qmp-") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(sockets) })
	socket := filepath.Join(sockets, "qmp")
	options := []string{"-qmp", "unix:" + socket + ",server=on,wait=off"}
	for i, kind := range kinds {
		options = append(options, "-drive", fmt.Sprintf("if=none,id=%s,format=raw,cache=none,werror=enospc,rerror=report,file=%s", kind, d.URL(i)),
			"-device", fmt.Sprintf("virtio-blk-device,drive=%[1]s,serial=%[1]s", kind))
	}
	g := Boot(t, Build(t), options...)
	q := dialQMP(t, socket)
	for i, kind := range kinds {
		t.Run(kind, func(t *testing.T) { pausesTheMachine(t, g, q, kind, folders[i]) })
	}
}

// pausesTheMachine fills the disk with a serial, which lies in folder.
func pausesTheMachine(t *testing.T, g *Guest, q *monitor, serial, folder string) {
	image := filepath.Join(folder, "disk.img")
	s := g.Start(t, bound, map[string]string{"SERIAL": serial}, `
		disk=/dev/$(basename $(dirname $(grep -lx $SERIAL /sys/block/*/serial)))
		[ -b $disk ] || die "the disks are $(ls /sys/block)"
		tr '\0' '\245' </dev/zero | head -c $((48 << 20)) | dd of=$disk bs=256k oflag=direct iflag=fullblock 2>&1 || die "the write"
		dd if=$disk bs=1M iflag=direct 2>/dev/null | tr -d '\245' | cmp - /dev/null || die "the disk does not hold what was written"
		dmesg | grep -i 'i/o error' && die "the kernel met an error"
		:`)
	q.await(s)
	if status := q.do("query-status"); !strings.Contains(status, `"io-error"`) {
		t.Errorf("the machine stands still, and its status is %s", status)
	}
	if n := whole(t, image, 0xa5); n == 0 || n == 48*mib/4096 {
		t.Errorf("%d blocks were written, want some but not all", n)
	}
	removeBallast(t, folder)
	q.do("cont") // it may pause again, until the file system gives out what was freed
	for ended := false; !ended; {
		if _, err := os.Stat(s.file("status")); err == nil {
			ended = true
		} else if !q.quiet() {
			time.Sleep(500 * time.Millisecond)
			q.do("cont")
		}
	}
	t.Logf("the guest:\n%s", s.Wait())
	if n := whole(t, image, 0xa5); n != 48*mib/4096 {
		t.Errorf("%d blocks were written, want all", n)
	}
}

// A monitor is a QMP connection to QEMU.
type monitor struct {
	t      *testing.T
	conn   net.Conn
	answer chan string
	stops  chan struct{}
}

func dialQMP(t *testing.T, socket string) *monitor {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	q := &monitor{t: t, conn: conn, answer: make(chan string, 1), stops: make(chan struct{}, 1024)}
	go func() {
		lines := bufio.NewScanner(conn)
		for lines.Scan() {
			var line struct {
				Event         string
				Return, Error json.RawMessage
			}
			if json.Unmarshal(lines.Bytes(), &line) != nil {
				continue
			}
			switch {
			case line.Event == "STOP":
				q.stops <- struct{}{}
			case line.Return != nil || line.Error != nil:
				q.answer <- lines.Text()
			}
		}
	}()
	q.do("qmp_capabilities")
	return q
}

// do executes a command and returns the answer, which must be no error.
func (q *monitor) do(command string) string {
	q.t.Helper()
	if _, err := fmt.Fprintf(q.conn, "{\"execute\": %q}\n", command); err != nil {
		q.t.Fatal(err)
	}
	select {
	case a := <-q.answer:
		if strings.Contains(a, `"error"`) && !strings.Contains(a, `"return"`) {
			q.t.Fatalf("%s: %s", command, a)
		}
		return a
	case <-time.After(time.Minute):
		q.t.Fatalf("QEMU does not answer %s", command)
	}
	return ""
}

// await waits until the machine has stopped, which must be before the script in it ends.
func (q *monitor) await(s *Script) {
	q.t.Helper()
	for deadline := time.Now().Add(bound); time.Now().Before(deadline); {
		if !q.quiet() {
			return
		}
		if _, err := os.Stat(s.file("status")); err == nil {
			break
		}
	}
	q.t.Fatalf("the machine has not stopped; the guest:\n%s", s.Output())
}

// quiet waits a moment, and tells whether the machine has not stopped in it.
func (q *monitor) quiet() bool {
	select {
	case <-q.stops:
		return false
	case <-time.After(200 * time.Millisecond):
		return true
	}
}
