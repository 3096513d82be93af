package provision

import (
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/sirupsen/logrus"

	"github.com/isantarget/isantarget/job"
	"github.com/isantarget/isantarget/scsi/sbc"
)

// sanitizePrefix begins the ids of the SANITIZE operations of initiators, which end with
// the name of the LUN.
const sanitizePrefix = "sanitize-"

// A JobEndedError refuses to cancel a job.
type JobEndedError struct{ Job job.Status }

// Error says how it ended.
func (e *JobEndedError) Error() string {
	return fmt.Sprintf("job %s has ended: %s", e.Job.ID, e.Job.State)
}

// Jobs are the long operations that run, and those that have ended of late. What
// initiators have begun by SANITIZE is among them while it runs.
func (p *Provisioner) Jobs() []job.Status {
	list := p.jobs.List()
	r := p.now.Load()
	if r == nil {
		return list
	}
	for _, l := range r.plan.LUNs {
		if s, ok := r.units[l.Name].sanitizing(); ok {
			list = append(list, s)
		}
	}
	return list
}

// Job is the operation of this id.
func (p *Provisioner) Job(id string) (job.Status, error) {
	var known []string
	for _, s := range p.Jobs() {
		if s.ID == id {
			return s, nil
		}
		known = append(known, s.ID)
	}
	return job.Status{}, &UnknownError{"job", id, known}
}

// CancelJob asks the operation of this id to end, and does not wait for that. A
// SANITIZE is not cancelled: nothing but its success ends it (SBC-3 4.11).
func (p *Provisioner) CancelJob(id string) error {
	s, err := p.Job(id)
	if err != nil {
		return err
	}
	j := p.jobs.Find(id)
	switch {
	case s.State.Final():
		return &JobEndedError{s}
	case j == nil:
		return fmt.Errorf("the %s of LUN %q was begun by an initiator and cannot be cancelled: what it has not overwritten yet must not be seen", s.Kind, s.Object)
	}
	p.log.WithFields(logrus.Fields{"job": id, "lun": s.Object}).Infof("the operator cancels: %s", s.Kind)
	j.Cancel()
	return nil
}

// sanitizing is the SANITIZE that runs on u.
func (u *unit) sanitizing() (job.Status, bool) {
	progress, ok := u.device.Sanitizing()
	if !ok {
		return job.Status{}, false
	}
	return sanitizeStatus(u.config.Name, progress), true
}

func sanitizeStatus(lun string, p sbc.SanitizeProgress) job.Status {
	s := job.Status{
		ID: sanitizePrefix + lun, Kind: "sanitize", Object: lun, Phase: p.Action, State: job.Running,
		Done: p.Done, Total: p.Total, Left: -1, Began: p.Began,
	}
	if took := time.Since(p.Began).Seconds(); took > 0 {
		s.Rate = int64(float64(p.Done) / took)
	}
	if s.Rate > 0 {
		s.Left = (s.Total - s.Done) / s.Rate
	}
	return s
}

// tellOf logs how a job is.
func (p *Provisioner) tellOf(s job.Status) {
	log := p.log.WithFields(logrus.Fields{"event": "job", "job": s.ID, "lun": s.Object})
	switch s.State {
	case job.Done:
		log.Infof("%s: done: %s", s.Kind, outcome(s))
	case job.Cancelled:
		log.Warnf("%s: cancelled: %s", s.Kind, s.Error)
	case job.Failed:
		log.Errorf("%s: %s", s.Kind, s.Error)
	default:
		log.Infof("%s, %s: %s", s.Kind, s.Phase, pace(s))
	}
}

// outcome says what has become of s.
func outcome(s job.Status) string {
	if s.Result != "" {
		return s.Result
	}
	return fmt.Sprintf("%s in %v", humanize.IBytes(uint64(s.Done)), s.Ended.Sub(s.Began).Round(time.Millisecond))
}

// pace says how far s is.
func pace(s job.Status) string {
	text := humanize.IBytes(uint64(max(s.Done, 0)))
	if s.Total > 0 {
		text += fmt.Sprintf(" of %s (%d %%)", humanize.IBytes(uint64(s.Total)), int64(100*float64(s.Done)/float64(s.Total)))
	}
	if s.Rate > 0 {
		text += fmt.Sprintf(", %s/s", humanize.IBytes(uint64(s.Rate)))
	}
	if s.Left >= 0 {
		text += fmt.Sprintf(", %v left", time.Duration(s.Left)*time.Second)
	}
	return text
}
