package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/sirupsen/logrus"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/provision"
)

// A service is what `serve` runs, and the daemon of package admin.
type service struct {
	*provision.Sides
	file  string // the configuration; empty: flags
	log   *logrus.Logger
	ready readyFile
	until context.Context // ends when the daemon is told to stop
	plane *admin.Server

	serving sync.WaitGroup
	mu      sync.Mutex // one change at a time
}

var _ admin.Daemon = (*service)(nil)

// openPlane answers on the admin socket in the state directory, until closePlane.
func (s *service) openPlane(state string) error {
	l, err := admin.Listen(filepath.Join(state, admin.SocketName))
	if err != nil {
		return err
	}
	s.serving.Go(func() {
		if err := s.plane.Serve(l); err != nil {
			s.log.WithError(err).Error("the admin socket has failed; nobody can ask this daemon by it any more")
		}
	})
	return nil
}

// closePlane answers no more, on the socket and over the network.
func (s *service) closePlane() {
	const bound = 5 * time.Second // for requests under way
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	if err := s.plane.Shutdown(ctx); err != nil {
		s.log.WithError(err).Warn("requests to the admin plane were broken off")
	}
	s.serving.Wait()
}

// errNoFile: there is nothing to read again.
var errNoFile = errors.New("the daemon serves what its flags say, so there is no file to read again: start it with --config FILE")

// Reload applies the configuration file again. It goes on when whoever asked for it is
// gone: what takes long is a job, which can be cancelled.
func (s *service) Reload(context.Context) (admin.Change, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == "" {
		return admin.Change{}, &admin.Refusal{Err: errNoFile}
	}
	s.notify(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
	defer s.notify(daemon.SdNotifyReady)
	want, report, err := s.Sides.Reload(s.until)
	if errors.Is(err, provision.ErrEnded) {
		return admin.Change{}, err
	}
	if err != nil {
		logLines(s.log, err)
		s.log.Errorf("%s is refused, and nothing has changed", s.file)
		return admin.Change{}, &admin.Refusal{Err: err}
	}
	if err := setLog(s.log, want.Log); err != nil {
		s.log.Warn(err)
	}
	return s.changed(report), nil
}

// Version is what this binary is.
func (s *service) Version() string { return version() }

// Apply is Reload, if file is the configuration file.
func (s *service) Apply(ctx context.Context, file string) (admin.Change, error) {
	if s.file == "" {
		return admin.Change{}, &admin.Refusal{Err: errNoFile}
	}
	own, err := os.Stat(s.file)
	if err != nil {
		return admin.Change{}, &admin.Refusal{Err: fmt.Errorf("the configuration file of the daemon cannot be read: %w", err)}
	}
	if other, err := os.Stat(file); err != nil || !os.SameFile(own, other) {
		path, _ := filepath.Abs(s.file)
		return admin.Change{}, &admin.Refusal{Err: fmt.Errorf("the daemon serves %s and would serve that again when it is started anew: put what %s says there, and apply that", path, file)}
	}
	return s.Reload(ctx)
}

// Forecast says what another text of the file would change.
func (s *service) Forecast(name, dir, text string) (provision.Forecast, error) {
	f, err := s.Sides.Forecast(name, dir, text)
	if isRefusal(err) {
		err = &admin.Refusal{Err: err}
	}
	return f, err
}

// Edit makes changes of objects. Like Reload it goes on when whoever asked for it is gone.
func (s *service) Edit(_ context.Context, batch provision.Batch) (admin.Change, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	report, err := s.Change(s.until, batch)
	if err != nil {
		if isRefusal(err) {
			err = &admin.Refusal{Err: err}
		}
		return admin.Change{}, err
	}
	return s.changed(report), nil
}

// isRefusal tells whether an error is about what was asked for.
func isRefusal(err error) bool {
	var many configs.Errors
	var one *configs.Error
	return errors.As(err, &many) || errors.As(err, &one)
}

// changed tells others what runs now, and the caller what has changed.
func (s *service) changed(report provision.Report) admin.Change {
	change := admin.Change{Changes: append([]string{}, report.Changes...), Warnings: append([]string{}, report.Warnings...), Objects: report.Objects}
	if err := s.ready.write(report.URLs()); err != nil {
		s.log.Warn(err)
		change.Warnings = append(change.Warnings, err.Error())
	}
	return change
}

// reloadOn reloads on each signal until ctx ends.
func (s *service) reloadOn(ctx context.Context, signals <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
			s.log.Info("SIGHUP: applying the configuration again")
			if _, err := s.Reload(ctx); errors.Is(err, errNoFile) {
				s.log.Warn(err)
			}
		}
	}
}

func (s *service) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		s.log.WithError(err).Warn("cannot tell systemd how we are")
	}
}
