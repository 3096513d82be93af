package provision

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/sirupsen/logrus"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/job"
)

const (
	// verifyPiece is what a verification reads at once, and verifyPage what it reads one
	// by one where that fails: of less the page cache keeps nothing.
	verifyPiece = 1 << 20
	verifyPage  = 4096

	// verifyAhead is by how many pieces it looks ahead at what the host has cached: farther
	// than the file system reads ahead, which is 4 MiB at most where nobody has set it.
	verifyAhead = 8

	// unreadableBound is how many bytes that cannot be read are enough.
	unreadableBound = 64 << 20
)

// Verify reads all that is allocated of a LUN, as a job, and changes nothing. Initiators
// use it meanwhile: there is one read at a time, and after it as long a rest as it took.
// rate bounds the bytes of a second besides, in the words of the configuration ("50MiB");
// empty: nothing does. What is read comes from the device and not out of the page cache of
// the host, which afterwards has what it had before.
//
// The job keeps nothing away from the LUN: it waits for the end of other jobs that are at
// work on it, and goes on in what it has become by them, or by snapshots. Where something
// cannot be read the job fails in the end, and its status has the ranges of blocks.
func (p *Provisioner) Verify(lun, rate string) (job.Status, error) {
	_, u, err := p.servedUnit(lun)
	if err != nil {
		return job.Status{}, err
	}
	var most configs.Size
	if rate != "" {
		if err := most.UnmarshalText([]byte(rate)); err != nil {
			return job.Status{}, refuse("%v", err)
		}
		if most <= 0 {
			return job.Status{}, refuse("nothing is read at %v a second; leave the rate out for no bound", most)
		}
	}
	if err := u.mayVerify(); err != nil {
		return job.Status{}, err
	}
	j, err := p.jobs.StartBeside("verify", lun, func(ctx context.Context, progress *job.Progress) (string, error) {
		v := verification{Provisioner: p, lun: lun, block: int64(max(u.config.BlockSize, 1)), rate: int64(most), progress: progress, buffer: make([]byte, verifyPiece)}
		progress.Phase("reading", 0)
		return v.run(ctx)
	})
	if err != nil {
		return job.Status{}, err
	}
	return j.Status(), nil
}

// mayVerify refuses a LUN that has nothing to be read now.
func (u *unit) mayVerify() error {
	if u.medium == nil {
		return refuse("LUN %q is not ready: %v", u.config.Name, u.failure)
	}
	if err := u.medium.Lost(); err != nil {
		return refuse("what was written to LUN %q may be lost, and what its host has cached is not what the device has: %v; see isantarget lun recover", u.config.Name, err)
	}
	return nil
}

// A verification is a Verify that runs.
type verification struct {
	*Provisioner
	lun      string
	block    int64
	rate     int64 // bytes of a second; 0: no bound
	progress *job.Progress
	buffer   []byte

	size   int64            // bytes, when it was asked last
	at     int64            // what is before it was looked at
	read   int64            // bytes
	extent backstore.Extent // the last one that the store told of
	ahead  int64            // the first piece whose cache was not looked at
	cached [2 * verifyAhead]bool

	bad        badRange
	ranges     int64 // that cannot be read
	unreadable int64 // bytes of them
}

// A badRange is bytes that cannot be read.
type badRange struct {
	from, to int64
	err      error
}

// errOtherwise: the LUN is at work, or is not what it was, and is to be looked at again.
var errOtherwise = errors.New("provision: the LUN has changed")

func (v *verification) run(ctx context.Context) (string, error) {
	for {
		u, err := v.unit(ctx)
		if err != nil {
			return v.failed(err)
		}
		v.size = u.medium.Geometry().Size
		v.progress.Of(min(v.at, v.size), v.size)
		if v.at >= v.size {
			break
		}
		began := time.Now()
		n, err := v.step(ctx, u)
		if errors.Is(err, errOtherwise) {
			v.extent, v.ahead = backstore.Extent{}, 0
			continue
		}
		if err == nil {
			err = v.rest(ctx, n, time.Since(began))
		}
		if err != nil {
			return v.failed(err)
		}
	}
	return v.outcome()
}

// unit is the LUN when no other job is at work on it.
func (v *verification) unit(ctx context.Context) (*unit, error) {
	for j := v.jobs.Of(v.lun); j != nil; j = v.jobs.Of(v.lun) {
		select {
		case <-j.Ended():
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	_, u, err := v.servedUnit(v.lun)
	if err == nil {
		err = u.mayVerify()
	}
	return u, err
}

// step looks at what comes next: at a hole, or at up to a piece, which it reads. n is how
// many bytes it read.
func (v *verification) step(ctx context.Context, u *unit) (n int64, err error) {
	m := u.medium
	if v.at < v.extent.Offset || v.at >= v.extent.End() {
		if v.extent, err = m.ExtentAt(v.at, v.size-v.at); err != nil {
			if err := v.stays(ctx, u, err); err != nil {
				return 0, err
			}
			v.extent = backstore.Extent{Offset: v.at, Length: min(verifyPiece, v.size-v.at)} // whoever does not tell is read
		}
	}
	if v.extent.State != backstore.Mapped {
		v.at = min(v.extent.End(), v.size)
		return 0, nil
	}
	piece := v.at / verifyPiece
	n = min(v.extent.End(), (piece+1)*verifyPiece, v.size) - v.at
	cached := v.wasCached(m, piece)
	var bad []badRange
	if _, err = m.ReadAt(v.buffer[:n], v.at); err != nil {
		if err := v.stays(ctx, u, err); err != nil {
			return 0, err
		}
		if bad, err = v.pages(ctx, u, v.at+n); err != nil {
			return 0, err
		}
	}
	if !cached {
		m.UncacheAt(v.at, n)
	}
	v.read += n
	v.at += n
	v.note(bad, v.at)
	if v.unreadable > unreadableBound {
		return n, fmt.Errorf("so much of LUN %q cannot be read that the rest was not tried", v.lun)
	}
	return n, nil
}

// stays is nil if what a read failed with counts. What fails because the LUN is changed
// meanwhile does not: errOtherwise.
func (v *verification) stays(ctx context.Context, u *unit, failure error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if v.jobs.Of(v.lun) != nil {
		return errOtherwise
	}
	gone := errors.Is(failure, backstore.ErrGone)
	if gone { // perhaps the image is closed for a snapshot; that has an end
		if _, _, err := v.inTurn(ctx, v.lun); err != nil {
			return err
		}
	}
	switch _, now, err := v.servedUnit(v.lun); {
	case err != nil:
		return err
	case now.medium != u.medium || now.medium.Geometry().Size < v.size:
		return errOtherwise
	case gone:
		return failure
	}
	return nil
}

// pages reads what there is from v.at to end page by page, and block by block where that
// fails. What it gives cannot be read.
func (v *verification) pages(ctx context.Context, u *unit, end int64) (bad []badRange, err error) {
	page := max(verifyPage, v.block)
	read := func(off, n int64) (failure, err error) {
		if _, failure = u.medium.ReadAt(v.buffer[:n], off); failure != nil {
			err = v.stays(ctx, u, failure)
		}
		return failure, err
	}
	whole := true
	for off := v.at; off < end; {
		n := min(off/page*page+page, end) - off
		failure, err := read(off, n)
		if err != nil {
			return nil, err
		}
		whole = whole && failure != nil
		for at := off; failure != nil && at < off+n; at += v.block {
			length := min(v.block, off+n-at)
			failure, err := read(at, length)
			if err != nil {
				return nil, err
			}
			if failure != nil {
				bad = append(bad, badRange{at, at + length, failure})
			}
		}
		off += n
	}
	if s, ok := u.base.(interface{ Vanished() error }); ok && whole {
		err = s.Vanished()
	}
	return bad, err
}

// note takes what cannot be read of a piece that ends at end.
func (v *verification) note(bad []badRange, end int64) {
	for _, r := range bad {
		v.read -= r.to - r.from
		v.unreadable += r.to - r.from
		if v.bad.err != nil && v.bad.to == r.from {
			v.bad.to = r.to
			continue
		}
		v.tellBad()
		v.bad = r
	}
	if v.bad.to < end {
		v.tellBad()
	}
}

// tellBad tells of the range that has come to its end, if there is one.
func (v *verification) tellBad() {
	if v.bad.err == nil {
		return
	}
	v.ranges++
	u := job.Unreadable{LBA: v.bad.from / v.block, Blocks: (v.bad.to - v.bad.from + v.block - 1) / v.block, Error: v.bad.err.Error()}
	var e *backstore.Error
	if errors.As(v.bad.err, &e) {
		u.Error = e.Err.Error()
	}
	v.bad = badRange{}
	if v.progress.Unreadable(u) {
		v.log.WithFields(logrus.Fields{"event": "job", "lun": v.lun, "lba": u.LBA, "blocks": u.Blocks}).Errorf("verify: %s", u)
	}
}

// wasCached tells whether the host had the whole of a piece cached before we came near
// it. Of all that lies up to verifyAhead pieces on, the cache is dropped once, so that what is
// found there later has just been read: by the file system ahead of us, or by others.
func (v *verification) wasCached(m *backstore.Medium, piece int64) bool {
	for v.ahead = max(v.ahead, piece); v.ahead <= piece+verifyAhead; v.ahead++ {
		off := v.ahead * verifyPiece
		n := min(verifyPiece, v.size-off)
		cached := false
		if n > 0 {
			_, err := m.TryReadAt(v.buffer[:n], off)
			cached = err == nil
			m.UncacheAt(off, n)
		}
		v.cached[v.ahead%int64(len(v.cached))] = cached
	}
	return v.cached[piece%int64(len(v.cached))]
}

// rest waits after n bytes that took so long to read.
func (v *verification) rest(ctx context.Context, n int64, took time.Duration) error {
	if n == 0 {
		return nil
	}
	pause := took
	if v.rate > 0 {
		pause = max(pause, time.Duration(float64(n)/float64(v.rate)*float64(time.Second))-took)
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// failed is the end before the last block.
func (v *verification) failed(err error) (string, error) {
	v.tellBad()
	result := fmt.Sprintf("LUN %s was read up to LBA %d: %s", v.lun, v.at/v.block, humanize.IBytes(uint64(v.read)))
	if v.ranges > 0 {
		result += "; " + v.cannot()
	}
	return result, err
}

// outcome is the end.
func (v *verification) outcome() (string, error) {
	v.tellBad()
	text := fmt.Sprintf("%s of LUN %s were read, all that is allocated", humanize.IBytes(uint64(v.read)), v.lun)
	if v.ranges == 0 {
		return text, nil
	}
	return text, errors.New(v.cannot())
}

// cannot says how much cannot be read.
func (v *verification) cannot() string {
	text := "cannot be read: " + counted(v.unreadable/v.block, "block") + " in " + counted(v.ranges, "range")
	if v.ranges > job.MaxUnreadable {
		text += fmt.Sprintf(", of which the first %d are told", job.MaxUnreadable)
	}
	return text
}

// counted is a number of things.
func counted(n int64, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
