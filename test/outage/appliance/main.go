// Appliance is the first program of a guest that does nothing but serve: it loads the modules in /modules, brings up the
// network, mounts /dev/vda and runs /isantarget with the arguments in /arguments, a line each. The daemon's admin socket
// it shows on TCP port 9000. Whoever connects to port 9001 has the daemon ended by SIGTERM; the console tells how it ended.
// Nothing is synced and nothing unmounted afterwards.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	fmt.Println("appliance:", run())   // it runs until it cannot go on
	time.Sleep(100 * time.Millisecond) // for the console
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

func run() error {
	for _, m := range [][3]string{{"devtmpfs", "/dev"}, {"proc", "/proc"}, {"sysfs", "/sys"}, {"tmpfs", "/tmp"}} {
		if err := unix.Mount(m[0], m[1], m[0], 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m[1], err)
		}
	}
	console, err := os.OpenFile("/dev/console", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	for fd := range 3 {
		if err := unix.Dup2(int(console.Fd()), fd); err != nil {
			return err
		}
	}
	if err := loadModules(); err != nil {
		return err
	}
	if err := network(); err != nil {
		return err
	}
	if err := mountDisk(); err != nil {
		return err
	}
	return serve()
}

// lines are those of a file that has no empty ones.
func lines(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	return strings.Fields(string(text)), err
}

func loadModules() error {
	names, err := lines("/modules/order")
	if err != nil {
		return err
	}
	for _, name := range names {
		f, err := os.Open("/modules/" + name)
		if err != nil {
			return err
		}
		if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && err != unix.EEXIST {
			return fmt.Errorf("%s: %w", name, err)
		}
		f.Close()
	}
	return nil
}

// await waits until something is there.
func await(path string) error {
	for range 3000 {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("%s does not come", path)
}

// network gives the addresses that QEMU's user network forwards to.
func network() error {
	if err := await("/sys/class/net/eth0"); err != nil {
		return err
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	for _, card := range []struct {
		name          string
		address, mask []byte
	}{{"lo", []byte{127, 0, 0, 1}, []byte{255, 0, 0, 0}}, {"eth0", []byte{10, 0, 2, 15}, []byte{255, 255, 255, 0}}} {
		r, err := unix.NewIfreq(card.name)
		if err != nil {
			return err
		}
		if err := r.SetInet4Addr(card.address); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(s, unix.SIOCSIFADDR, r); err != nil {
			return fmt.Errorf("address of %s: %w", card.name, err)
		}
		if err := r.SetInet4Addr(card.mask); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(s, unix.SIOCSIFNETMASK, r); err != nil {
			return fmt.Errorf("netmask of %s: %w", card.name, err)
		}
		r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
		if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, r); err != nil {
			return fmt.Errorf("%s up: %w", card.name, err)
		}
	}
	return nil
}

// mountDisk mounts /dev/vda with the file system that the command line of the kernel says.
func mountDisk() error {
	if err := await("/dev/vda"); err != nil {
		return err
	}
	cache, err := os.ReadFile("/sys/block/vda/queue/write_cache")
	if err != nil {
		return err
	}
	if got := strings.TrimSpace(string(cache)); got != "write back" {
		return fmt.Errorf("the disk has a cache of kind %q: nobody would flush it", got)
	}
	// What is dirty is written back at once, long before it is flushed: so the disk has something to lose.
	for _, knob := range []string{"dirty_expire_centisecs", "dirty_writeback_centisecs"} {
		if err := os.WriteFile("/proc/sys/vm/"+knob, []byte("5"), 0); err != nil {
			return err
		}
	}
	words, err := lines("/proc/cmdline")
	if err != nil {
		return err
	}
	for _, word := range words {
		if kind, ok := strings.CutPrefix(word, "lab.kind="); ok {
			if err := unix.Mount("/dev/vda", "/disk", kind, 0, ""); err != nil {
				return fmt.Errorf("mount: %w", err)
			}
			return nil
		}
	}
	return fmt.Errorf("the command line says no lab.kind")
}

func serve() error {
	args, err := lines("/arguments")
	if err != nil {
		return err
	}
	daemon := exec.Command("/isantarget", args...)
	daemon.Stdout, daemon.Stderr = os.Stdout, os.Stderr
	if err := daemon.Start(); err != nil {
		return err
	}
	go forward()
	go end(daemon)
	if err := await("/tmp/ready"); err != nil {
		return err
	}
	fmt.Println("appliance: ready")
	if err := daemon.Wait(); err != nil {
		return fmt.Errorf("isantarget: %w", err)
	}
	fmt.Println("appliance: isantarget has ended")
	select {} // until the power is cut
}

// forward shows the admin socket on a TCP port.
func forward() {
	l, err := net.Listen("tcp", ":9000")
	if err != nil {
		fmt.Println("appliance:", err)
		return
	}
	for {
		outer, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer outer.Close()
			inner, err := net.Dial("unix", "/disk/state/admin.sock")
			if err != nil {
				return
			}
			defer inner.Close()
			go func() {
				_, _ = io.Copy(inner, outer)
				_ = inner.(*net.UnixConn).CloseWrite()
			}()
			_, _ = io.Copy(outer, inner)
		}()
	}
}

// end ends the daemon when someone connects.
func end(daemon *exec.Cmd) {
	l, err := net.Listen("tcp", ":9001")
	if err != nil {
		fmt.Println("appliance:", err)
		return
	}
	if _, err := l.Accept(); err != nil {
		return
	}
	if err := daemon.Process.Signal(unix.SIGTERM); err != nil {
		fmt.Println("appliance:", err)
	}
}
