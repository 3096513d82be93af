package live

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/internal/loopdevice"
	"github.com/isantarget/isantarget/job"
	"github.com/isantarget/isantarget/test/daemon"
)

// slowFolder is a file system that cannot allocate what is not written (ext4 without
// extents), so that a fixed image takes as long as its zeros: long, for each MiB goes down
// to the disk, in blocks of 1024 bytes.
func slowFolder(t *testing.T) string {
	t.Helper()
	disk := filepath.Join(t.TempDir(), "disk")
	if err := errors.Join(os.WriteFile(disk, nil, 0o600), os.Truncate(disk, 12<<30)); err != nil {
		t.Fatal(err)
	}
	device := loopdevice.New(t, loopdevice.Options{File: disk})
	folder := loopdevice.Format(t, device, "ext4", "-b", "1024", "-O", "^extent,^64bit,^has_journal", "-E", "lazy_itable_init=1")
	if err := unix.Mount("", folder, "", unix.MS_REMOUNT|unix.MS_SYNCHRONOUS, ""); err != nil {
		t.Fatal(err)
	}
	return folder
}

// used are the bytes that the files of a file system take.
func used(t *testing.T, folder string) int64 {
	t.Helper()
	var s syscall.Statfs_t
	if err := syscall.Statfs(folder, &s); err != nil {
		t.Fatal(err)
	}
	return int64(s.Blocks-s.Bfree) * int64(s.Bsize)
}

// nothingLeft: neither files nor space.
func nothingLeft(t *testing.T, folder string, before int64) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(folder, "*.img*"))
	hidden, _ := filepath.Glob(filepath.Join(folder, ".*.new"))
	if err != nil || len(left)+len(hidden) > 0 {
		t.Errorf("left behind: %v %v, %v", left, hidden, err)
	}
	eventually(t, "the space is free again", func() bool { return used(t, folder) <= before+1<<20 })
}

// A fixed image takes its space as a job of the reload that wants it: it is seen, it
// goes on when whoever asked is gone, and cancelled it leaves nothing behind.
func TestJob_FixedImage(t *testing.T) {
	folder := slowFolder(t)
	r := start(t, rule{alice, []string{"a"}})
	before := used(t, folder)
	text := r.text(rule{alice, []string{"a"}}) +
		"[[lun]]\nname = \"big\"\nsize = \"8GiB\"\nprovisioning = \"fixed\"\npath = \"" + folder + "/big.img\"\n"

	if status, printed := r.command("job list"); status != 0 || printed != "no jobs\n" {
		t.Errorf("job list: %d %s", status, printed)
	}
	r.write(text)
	asked := exec.Command(daemon.Client(), "reload", "--socket", r.socket())
	var said strings.Builder
	asked.Stderr = &said
	if err := asked.Start(); err != nil {
		t.Fatal(err)
	}
	var now job.Status
	running := func() bool {
		status, printed := r.command("job list", "--json")
		var list []job.Status
		if err := json.Unmarshal([]byte(printed), &list); err != nil || status != 0 {
			t.Fatalf("job list --json: %d, %v\n%s", status, err, printed)
		}
		if len(list) == 0 {
			return false
		}
		now = list[len(list)-1]
		return now.Done > 0 && now.Rate > 0
	}
	eventually(t, "the job is listed and gets on", running)
	if now.Kind != "allocate" || now.Object != "big" || now.State != job.Running || now.Total != 8<<30 || now.Left < 0 {
		t.Errorf("the job is %+v", now)
	}
	if err := asked.Process.Signal(os.Interrupt); err != nil { // whoever asked is gone
		t.Fatal(err)
	}
	asked.Wait()
	if !strings.Contains(said.String(), "goes on") {
		t.Errorf("interrupted, whoever asked says:\n%s", said.String())
	}
	at := now.Done
	eventually(t, "the job goes on", func() bool { return running() && now.Done > at && now.State == job.Running })
	if status, printed := r.command("job list"); status != 0 || !strings.Contains(printed, "allocate  big") || !strings.Contains(printed, "of 8.0 GiB") {
		t.Errorf("job list: %d\n%s", status, printed)
	}
	if status, printed := r.command("job cancel", now.ID); status != 0 || !strings.Contains(printed, "is cancelled") {
		t.Errorf("job cancel: %d %s", status, printed)
	}
	if status, printed := r.command("job wait", now.ID); status != 1 || !strings.Contains(printed, "allocate of big: it was cancelled") {
		t.Errorf("job wait: %d %s", status, printed)
	}
	if status, printed := r.command("job show", now.ID); status != 0 || !strings.Contains(printed, "cancelled") {
		t.Errorf("job show: %d %s", status, printed)
	}
	if status, printed := r.command("job cancel", now.ID); status != 1 || !strings.Contains(printed, "has ended: cancelled") {
		t.Errorf("job cancel again: %d %s", status, printed)
	}
	if status, printed := r.command("job cancel", "77"); status != 1 || !strings.Contains(printed, "there is no job 77") {
		t.Errorf("job cancel of another: %d %s", status, printed)
	}
	nothingLeft(t, folder, before)
	if list, err := r.LUNs(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("the LUNs are %+v, %v", list, err)
	}

	// A reload that waits hears of it, and so does the log.
	reload := make(chan string, 1)
	go func() {
		status, printed := r.command("reload")
		reload <- string(rune('0'+status)) + printed
	}()
	eventually(t, "a second job gets on", func() bool { return running() && now.State == job.Running })
	if err := r.CancelJob(t.Context(), now.ID); err != nil {
		t.Error(err)
	}
	if got := <-reload; got[0] != '1' || !strings.Contains(got, "it was cancelled") {
		t.Errorf("reload: %s", got)
	}
	nothingLeft(t, folder, before)
}

// Told to stop while it starts, the daemon does, and leaves nothing behind.
func TestJob_SignalAtStart(t *testing.T) {
	folder := slowFolder(t)
	before := used(t, folder)
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		cmd := exec.Command(daemon.Binary(), "serve", "--state", t.TempDir(), "--portal", "127.0.0.1:0", "--lun", "big="+folder+"/big.img,size=8GiB,provisioning=fixed")
		var said strings.Builder
		cmd.Stderr = &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "space is taken", func() bool { return used(t, folder) > before+4<<20 })
		if err := cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil || !strings.Contains(said.String(), "stopped before anything was served") {
			t.Errorf("%v: %v\n%s", s, err, said.String())
		}
		nothingLeft(t, folder, before)
	}
}
