package main

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"os"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/isantarget/isantarget/test/daemon"
	"github.com/isantarget/isantarget/test/peer"
)

// A stage is a part of `make test` that can be run by itself.
type stage struct {
	name    string
	purpose string
	bound   time.Duration
	peers   []string // the Debian packages it uses, by their names in peer.Packages
	waits   bool     // it mostly waits, and may run beside the stages after it
	joins   bool     // it begins when all stages before it have ended
	run     func(context.Context, *runner)
}

// A runner is where the stages run and what they report to.
type runner struct {
	root     string // of the module
	report   *report
	binaries *binaries
}

// module is the path of the module.
const module = "github.com/isantarget/isantarget"

// stages are all of them, in their order.
func stages() []stage {
	race := slices.Clip(compiler())
	guest := slices.Clip(append(race, "qemu-system-x86", "mmdebstrap", "e2fsprogs", "cpio", "xz-utils"))
	return []stage{
		{name: "check", purpose: "formatting, vet, staticcheck, build without cgo, the rules of the house", bound: 10 * time.Minute, run: check},
		{name: "unit", purpose: "unit tests, with the race detector", bound: 20 * time.Minute, peers: append(race, "zsh", "fish"), waits: true, run: unit},
		{name: "fuzz", purpose: "each fuzz target for a moment", bound: 10 * time.Minute, run: fuzz},
		{name: "daemon", purpose: "the daemon as a process: stop, kill, refusals; what it tells Prometheus", bound: 10 * time.Minute, peers: append(race, "prometheus"), run: endToEnd("daemon")},
		{name: "image", purpose: "the container image's binary: static, in an empty root, not as root", bound: 5 * time.Minute, run: endToEnd("image")},
		// A container has copies of the machine's mounts for a moment, and keeps in use what is unmounted.
		{name: "debian", purpose: "the Debian package: installed, used, brought up to date, removed on a machine with systemd", bound: 10 * time.Minute, peers: []string{"systemd-container", "systemd", "libiscsi-bin"}, joins: true, run: endToEnd("debian")},
		{name: "protocol", purpose: "clause by clause, by initiators that can be wrong, and by many at once", bound: 25 * time.Minute, peers: append(race, "tgt", "istgt", "open-isns-server", "open-isns-utils"), waits: true, run: endToEnd("protocol", "hostile", "reservation", "compareandwrite", "live", "thirdparty", "migration", "isns", "doctor")},
		{name: "powercut", purpose: "the plug is pulled: below the store, in a real file system, and by SIGKILL", bound: 25 * time.Minute, peers: append(race, "e2fsprogs", "xfsprogs"), waits: true, run: endToEnd("powercut")},
		{name: "outage", purpose: "the power of a machine is cut that serves from its own disk: all of the way down to the flush of a virtual disk", bound: 25 * time.Minute, peers: append(guest, "xfsprogs"), waits: true, run: endToEnd("outage")},
		{name: "page", purpose: "the web page in a browser, by keyboard too", bound: 15 * time.Minute, peers: append(race, "chromium"), waits: true, run: endToEnd("page")},
		{name: "qemu", purpose: "qemu-img and qemu-io on iscsi:// disks", bound: 8 * time.Minute, peers: append(race, "qemu-utils", "qemu-block-extra"), run: endToEnd("qemu")},
		{name: "conformance", purpose: "libiscsi's iscsi-test-cu in every shape of logical unit", bound: 15 * time.Minute, peers: append(race, "libiscsi-bin"), run: endToEndWithoutRace("conformance")},
		{name: "guest", purpose: "the Linux initiator in a QEMU guest, and QEMU that pauses one on a full disk", bound: 25 * time.Minute, peers: append(guest, "qemu-block-extra", "xfsprogs"), run: endToEnd("guest")},
		{name: "cluster", purpose: "what clusters ask of a shared disk, in two QEMU guests", bound: 20 * time.Minute, peers: guest, joins: true, run: endToEnd("cluster")},
	}
}

// endToEndPackages are the packages below test/ that need a daemon; other stages than unit run them.
func endToEndPackages() []string {
	return []string{"daemon", "image", "debian", "protocol", "hostile", "reservation", "compareandwrite", "live", "thirdparty", "migration", "isns", "doctor", "powercut", "outage", "page", "qemu", "conformance", "guest", "cluster"}
}

// endToEnd returns the stage of packages below test/.
func endToEnd(names ...string) func(context.Context, *runner) {
	return func(ctx context.Context, r *runner) {
		runEndToEnd(ctx, r, r.binaries.environment(ctx, r.report), names)
	}
}

// endToEndWithoutRace is for what sends one command after the other, which is no way to find a race.
func endToEndWithoutRace(names ...string) func(context.Context, *runner) {
	return func(ctx context.Context, r *runner) {
		runEndToEnd(ctx, r, r.binaries.withoutRace(ctx, r.report), names)
	}
}

// runEndToEnd runs the packages below test/ of one stage.
func runEndToEnd(ctx context.Context, r *runner, env, names []string) {
	deadline, _ := ctx.Deadline()
	// The test's own bound comes first, for it prints what every goroutine was at.
	bound := time.Until(deadline) - 20*time.Second
	args := []string{"-vet=off", "-count=1", "-timeout=" + bound.String()} // check has vetted them
	for _, name := range names {
		args = append(args, "./test/"+name)
	}
	goTest(ctx, r.report, r.root, append(daemon.Shipped(), env...), args...)
}

// compiler is what the race detector's runtime is linked with.
func compiler() []string { return []string{"gcc", "libc6-dev"} }

// unit runs the tests of every package that no other stage runs.
func unit(ctx context.Context, r *runner) {
	own := make([]string, 0, 8)
	for _, name := range append(endToEndPackages(), "house") {
		own = append(own, path.Join(module, "test", name))
	}
	packages, err := goList(ctx, r.root)
	if err != nil {
		r.report.fail("unit", err.Error())
		return
	}
	packages = slices.DeleteFunc(packages, func(p string) bool { return slices.Contains(own, p) })
	// The slow ones mostly wait: for file systems, processes, and each other. They begin first.
	slices.SortStableFunc(packages, func(a, b string) int { return cmp.Compare(slowness(b), slowness(a)) })
	args := []string{"-vet=off", "-timeout=15m", "-p=" + strconv.Itoa(2*runtime.NumCPU())}
	if lacking := peer.Lacking(compiler()...); lacking == "" {
		args = append(args, "-race")
	} else {
		r.report.skip("the race detector in all tests", lacking)
	}
	goTest(ctx, r.report, r.root, r.binaries.environment(ctx, r.report), append(args, packages...)...)
	// The tests that count allocations are not built for the race detector.
	counting, err := declared(ctx, r.root, `Test\w*Alloc\w*`)
	if err != nil {
		r.report.fail("unit", err.Error())
		return
	}
	goTest(ctx, r.report, r.root, daemon.Shipped(), append([]string{"-vet=off", "-run=Alloc", "-timeout=2m"}, slices.Sorted(maps.Keys(counting))...)...)
}

// slowness is higher of a package whose tests take long.
func slowness(pkg string) int {
	slowest := []string{"provision", "backstore/file", "backstore/snapshot", "scsi/sbc", "cmd/isantarget", "test/tally"}
	if i := slices.Index(slowest, short(pkg)); i >= 0 {
		return len(slowest) - i
	}
	return 0
}

// goList returns the import paths of the module's packages.
func goList(ctx context.Context, root string) ([]string, error) {
	cmd := command(ctx, root, nil, "go", "list", "./...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, errors.New("go list ./...: " + err.Error())
	}
	return strings.Fields(string(out)), nil
}

// install brings the programs that the stages need. What may not be installed is not: the tests that need it say so and
// are skipped. What may be and cannot, is a failure.
func install(ctx context.Context, r *runner, chosen []stage) {
	var names []string
	for _, s := range chosen {
		names = append(names, s.peers...)
	}
	switch err := peer.Install(ctx, r.report.w, names...); {
	case errors.Is(err, peer.ErrNotAllowed):
		r.report.printf("%v; the tests that need them are skipped\n", err)
	case err != nil:
		r.report.fail("installing what the tests need", err.Error())
	}
}
