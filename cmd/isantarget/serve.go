package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/admin/page"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/provision"
)

func serveCommand() *cli.Command {
	return &cli.Command{
		Name:        "serve",
		Usage:       "serve LUNs until told to stop (SIGTERM or Ctrl-C)",
		Description: serveDescription,
		Flags: append([]cli.Flag{
			text("config", "serve what `FILE` says, and no other flag"),
			text("ready-file", "write the URLs to `FILE` once logins are accepted"),
		}, objectFlags()...),
		Action: serve,
	}
}

const serveDescription = "Without a flag: a sparse disk of 10 GiB in ./" + configs.DefaultFlagsState + ", for this host only.\n" +
	"Flags serve one target; a file (--config) serves all that there is. SIGHUP, or\n" +
	"`isantarget reload`, applies the file again, and leaves alone what has not changed.\n\n" +
	"--lun NAME=PATH takes options behind commas; PATH is an image or a block device:\n" +
	"  size=10GiB                      make the image if it is missing\n" +
	"  provisioning=sparse|fixed       how it takes its space\n" +
	"  block-size=512|4096             bytes of a logical block\n" +
	"  physical-block-size=4096        what initiators align to\n" +
	"  write-cache=off                 every write waits for the disk\n" +
	"  readonly, removable, direct     switches\n" +
	"  serial=TEXT                     the identity, instead of one made once\n" +
	"  kind=file|block|memory|null|gotgt\n" +
	"  fault=error=EIO:on=read:rate=1% break on purpose, for tests: see `lun fault set --help`\n" +
	"LUN numbers count from 0.\n\n" +
	"A flag that is not given may be set by its environment variable; ISANTARGET_LUN and\n" +
	"ISANTARGET_PORTAL hold several values with blanks between them."

// serve runs until a signal ends it.
func serve(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	from, err := origin(c)
	if err != nil {
		return err
	}
	log := logrus.New()
	log.SetOutput(c.App.ErrWriter)
	sockets, err := inheritedSockets()
	if err != nil {
		return err
	}
	sides := provision.NewSides(provision.New(provision.Options{Log: log, Revision: revision(), Sockets: sockets}), from)
	want, err := sides.Load()
	if err != nil {
		return err
	}
	if err := setLog(log, want.Log); err != nil {
		return err
	}
	ctx, forget := untilSignal(log)
	defer forget()
	hangUps := make(chan os.Signal, 1)
	signal.Notify(hangUps, syscall.SIGHUP)
	defer signal.Stop(hangUps)

	s := &service{
		Sides: sides, file: c.String("config"), log: log, ready: readyFile(c.String("ready-file")),
		until: ctx,
	}
	s.plane = admin.NewServer(s, log, page.Files())
	sides.Accompany(s.plane)
	_, report, err := sides.Reload(ctx)
	if errors.Is(err, context.Canceled) {
		log.Info("stopped before anything was served")
		return nil
	}
	if err != nil {
		return err
	}
	if err = s.openPlane(want.State); err == nil {
		if err = announce(c, log, report, s.ready); err == nil {
			s.reloadOn(ctx, hangUps)
		}
	}
	s.closePlane()
	s.End()
	return errors.Join(err, stop(s.Provisioner, log, s.ready))
}

// inheritedSockets are those that systemd has opened for us (sd_listen_fds(3)).
func inheritedSockets() (sockets []*net.TCPListener, err error) {
	listeners, err := activation.Listeners()
	if err != nil {
		return nil, fmt.Errorf("cannot take the sockets of systemd: %w", err)
	}
	for i, l := range listeners {
		socket, ok := l.(*net.TCPListener)
		if !ok {
			return nil, fmt.Errorf("socket %d of systemd is no TCP port that listens; isantarget.socket may have ListenStream=ADDRESS:PORT alone", i+1)
		}
		sockets = append(sockets, socket)
	}
	return sockets, nil
}

// untilSignal is a context that the first SIGTERM or SIGINT ends. A second one
// ends the process.
func untilSignal(log *logrus.Logger) (ctx context.Context, forget func()) {
	signal.Ignore(syscall.SIGPIPE) // a reader of our output that goes away is no reason to drop disks
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		if s, ok := <-signals; ok {
			log.Infof("stopping: %v; a second signal ends at once", s)
			cancel()
		}
		if s, ok := <-signals; ok {
			log.Errorf("ended at once: %v; what was written since the last flush may be lost", s)
			os.Exit(1)
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(signals)
		cancel()
	}
}

// announce tells everybody that logins are accepted.
func announce(c *cli.Context, log *logrus.Logger, report provision.Report, ready readyFile) error {
	if err := ready.write(report.URLs()); err != nil {
		return err
	}
	if _, err := fmt.Fprint(c.App.Writer, banner(report)); err != nil {
		log.WithError(err).Warn("cannot print what is served")
	}
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		log.WithError(err).Warn("cannot tell systemd that we are ready")
	}
	return nil
}

// stop drains, syncs and closes. How long initiators may take to log out is
// bounded by the drain timeout of the limits.
func stop(p *provision.Provisioner, log *logrus.Logger, ready readyFile) error {
	if _, err := daemon.SdNotify(false, daemon.SdNotifyStopping); err != nil {
		log.WithError(err).Warn("cannot tell systemd that we stop")
	}
	if err := ready.remove(); err != nil {
		log.Warn(err)
	}
	if _, err := p.Apply(context.Background(), configs.Config{}); err != nil {
		logLines(log, err)
		return errLogged
	}
	log.Info("stopped: all that was written is on the disk")
	return nil
}

// revision is the PRODUCT REVISION LEVEL (SPC-4 6.6.2): the digits of the version.
func revision() string {
	v := strings.TrimPrefix(version(), "v")
	if v == "" || v[0] < '0' || v[0] > '9' {
		return "0"
	}
	return strings.TrimRight(v[:min(4, len(v))], ".-")
}
