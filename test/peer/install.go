package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// ErrNotAllowed says that something is missing and that this process may not install it.
var ErrNotAllowed = errors.New("may not install")

// Install brings those of the named Debian packages that this machine lacks, with apt-get, and says on w in one line
// what and why; the programs of one that is Alone go to /usr/local/bin. It does nothing when all are there. The error wraps
// [ErrNotAllowed], with the reason, where it may not: not root, no apt-get, or ISANTARGET_TEST_INSTALL=0.
func Install(ctx context.Context, w io.Writer, wanted ...string) error {
	var names, whole, why []string
	var alone []Package
	for _, p := range Packages() {
		if slices.Contains(wanted, p.Name) && p.Missing() != "" {
			names = append(names, p.Name)
			if p.Alone {
				alone = append(alone, p)
			} else {
				whole = append(whole, p.Name)
			}
			why = append(why, fmt.Sprintf("%s (%s)", p.Name, p.Purpose))
		}
	}
	if len(names) == 0 {
		return nil
	}
	if reason := forbidden(); reason != "" {
		return fmt.Errorf("%w %s: %s", ErrNotAllowed, strings.Join(names, ", "), reason)
	}
	fmt.Fprintf(w, "installing with apt-get, since they are missing: %s\n", strings.Join(why, "; "))
	if err := apt(ctx, "", "update", "-q"); err != nil {
		return err
	}
	if len(whole) > 0 {
		if err := apt(ctx, "", append([]string{"install", "-q", "-y", "--no-install-recommends"}, whole...)...); err != nil {
			return err
		}
	}
	for _, p := range alone {
		if err := extract(ctx, p, extracted); err != nil {
			return err
		}
	}
	return nil
}

// forbidden says why this process may not install packages; it is empty when it may.
func forbidden() string {
	switch _, err := exec.LookPath("apt-get"); {
	case os.Getenv("ISANTARGET_TEST_INSTALL") == "0":
		return "ISANTARGET_TEST_INSTALL=0"
	case os.Geteuid() != 0:
		return "not root"
	case err != nil:
		return "no apt-get on this machine"
	}
	return ""
}

// apt runs apt-get in a folder; its output is part of the error and else dropped.
func apt(ctx context.Context, dir string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	var out bytes.Buffer
	// The lock may be held by the machine's own upgrades.
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-o", "DPkg::Lock::Timeout=120"}, args...)...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("apt-get %s: %w\n%s", strings.Join(args, " "), err, out.String())
	}
	return nil
}
