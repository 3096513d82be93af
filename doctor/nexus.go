package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/scsi"
)

// A nexus is one of the initiator ports that the doctor plays. It logs in when it is
// asked for the first time, and again after its connection was lost.
type nexus struct {
	x          *examination
	portal     string
	isid       iscsi.ISID
	name       string // iSCSI name of the initiator
	conn       *initiator.Connection
	attentions []scsi.SenseCode // unit attentions that it has heard, the last ones
}

// A condition is how a command ended that did not end with GOOD.
type condition struct {
	name   string
	status scsi.Status
	key    scsi.SenseKey
	code   scsi.SenseCode
	reply  uint8 // iSCSI response
	sense  []byte
}

func (c *condition) Error() string {
	switch {
	case c.reply != 0:
		return fmt.Sprintf("%s: iSCSI response %02Xh (target failure)", c.name, c.reply)
	case c.status == scsi.CheckCondition && len(c.sense) == 0:
		return c.name + ": CHECK CONDITION without sense data"
	case c.status == scsi.CheckCondition:
		return fmt.Sprintf("%s: %v, %v", c.name, c.key, c.code)
	}
	return fmt.Sprintf("%s: status %v", c.name, c.status)
}

// unsupported tells whether err says that a command, or a form of it, is not there.
func unsupported(err error) bool {
	var c *condition
	return errors.As(err, &c) && c.key == scsi.KeyIllegalRequest && (c.code == scsi.ASCInvalidCommandOperationCode || c.code == scsi.ASCInvalidFieldInCDB)
}

// conflicts tells whether err is RESERVATION CONFLICT.
func conflicts(err error) bool {
	var c *condition
	return errors.As(err, &c) && c.status == scsi.ReservationConflict
}

// hasCode tells whether err is CHECK CONDITION with a code.
func hasCode(err error, key scsi.SenseKey, code scsi.SenseCode) bool {
	var c *condition
	return errors.As(err, &c) && c.status == scsi.CheckCondition && c.key == key && c.code == code
}

// answered tells whether err is an answer of the target to a command, and not the lack of one.
func answered(err error) bool {
	var c *condition
	return errors.As(err, &c)
}

// offered are the keys of open-iscsi's defaults (iscsid.conf).
func offered() []iscsi.KeyValue {
	return []iscsi.KeyValue{
		{Key: "HeaderDigest", Value: "None"}, {Key: "DataDigest", Value: "None"}, {Key: "DefaultTime2Wait", Value: "2"}, {Key: "DefaultTime2Retain", Value: "0"},
		{Key: "IFMarker", Value: "No"}, {Key: "OFMarker", Value: "No"}, {Key: "ErrorRecoveryLevel", Value: "0"}, {Key: "InitialR2T", Value: "No"},
		{Key: "ImmediateData", Value: "Yes"}, {Key: "MaxBurstLength", Value: "16776192"}, {Key: "FirstBurstLength", Value: "262144"},
		{Key: "MaxOutstandingR2T", Value: "1"}, {Key: "MaxConnections", Value: "1"}, {Key: "DataPDUInOrder", Value: "Yes"},
		{Key: "DataSequenceInOrder", Value: "Yes"}, {Key: "MaxRecvDataSegmentLength", Value: "262144"},
	}
}

// with gives keys, those of more in the place of their namesakes.
func with(keys []iscsi.KeyValue, more ...iscsi.KeyValue) []iscsi.KeyValue {
	for _, kv := range more {
		if i := slices.IndexFunc(keys, func(k iscsi.KeyValue) bool { return k.Key == kv.Key }); i >= 0 {
			keys[i] = kv
		} else {
			keys = append(keys, kv)
		}
	}
	return keys
}

// dial connects to a portal, for as long as the check may take.
func (x *examination) dial(portal string) (*initiator.Connection, error) {
	c, err := initiator.Dial(portal, initiator.Options{Timeout: x.o.timeout(), Until: x.until, Forgive: true})
	if err != nil {
		return nil, fmt.Errorf("cannot connect to %s: %w", portal, explainDial(err))
	}
	context.AfterFunc(x.ctx, func() { c.Close() })
	return c, nil
}

// explainDial says what a failed connect means.
func explainDial(err error) error {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return fmt.Errorf("the name %q has no address: %w", dns.Name, err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("no answer; a firewall may drop it: %w", err)
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Errorf("no answer; a firewall may drop it: %w", err)
	}
	return err
}

// login opens a session with the target. change alters how.
func (x *examination) login(portal string, isid iscsi.ISID, change ...func(*initiator.Login)) (*initiator.Connection, error) {
	for range 4 {
		c, err := x.dial(portal)
		if err != nil {
			return nil, err
		}
		l := initiator.Login{InitiatorName: x.o.initiator(), TargetName: x.target, SessionType: "Normal", ISID: isid, Keys: offered(), CHAP: x.o.chap()}
		for _, f := range change {
			f(&l)
		}
		err = c.Login(l)
		x.note(c)
		if err == nil {
			return c, nil
		}
		c.Close()
		var refusal *initiator.Refusal
		if !errors.As(err, &refusal) || refusal.Status.Class() != iscsi.LoginClassRedirection {
			return nil, explainLogin(err)
		}
		address, _, _ := cutTag(refusal.Keys["TargetAddress"])
		if portal, err = parsePortal(address); err != nil {
			return nil, fmt.Errorf("the target sends us elsewhere, to TargetAddress=%q: %w", refusal.Keys["TargetAddress"], err)
		}
	}
	return nil, errors.New("the target sends us from one portal to the next")
}

// explainLogin says what a refused login means, and what to do.
func explainLogin(err error) error {
	var refusal *initiator.Refusal
	if !errors.As(err, &refusal) {
		return fmt.Errorf("login: %w", err)
	}
	advice := map[iscsi.LoginStatus]string{
		iscsi.LoginNotFound:              "no target of this name is served here to us: `isantarget doctor HOST` shows those that are",
		iscsi.LoginAuthenticationFailure: "it wants CHAP: give the right --user and --secret-file, or ISANTARGET_CHAP_SECRET",
		iscsi.LoginAuthorizationFailure:  "its access rules do not admit this initiator name or address: give --initiator IQN with one that they admit",
		iscsi.LoginTooManyConnections:    "it admits no more sessions",
		iscsi.LoginOutOfResources:        "it has no memory or sessions left",
		iscsi.LoginServiceUnavailable:    "it does not serve just now",
	}
	if text := advice[refusal.Status]; text != "" {
		return fmt.Errorf("%w: %s", err, text)
	}
	return err
}

// connection is the nexus's, logged in.
func (n *nexus) connection() (*initiator.Connection, error) {
	if n.conn != nil {
		n.conn.Until = n.x.until
		return n.conn, nil
	}
	if lost := n.x.lost.Load(); lost >= maxLost {
		return nil, notChecked("the target has lost our connections %d times, and is asked no more", lost)
	}
	c, err := n.x.login(n.portal, n.isid, func(l *initiator.Login) { l.InitiatorName = n.name })
	var refusal *initiator.Refusal
	if errors.As(err, &refusal) && n.name != n.x.o.initiator() {
		// Access rules know one name: its other ports are other hosts to the target, too.
		n.name = n.x.o.initiator()
		return n.connection()
	}
	if err != nil {
		n.x.lost.Add(1)
		return nil, err
	}
	n.conn = c
	return c, nil
}

// maxLost is after how many lost connections a target is asked no more.
const maxLost = 8

// drop forgets the connection: what comes next logs in again.
func (n *nexus) drop() {
	if n.conn != nil {
		n.x.note(n.conn)
		n.conn.Close()
		n.conn = nil
	}
}

// logout leaves in good order.
func (n *nexus) logout() {
	if n.conn != nil {
		n.conn.Until = time.Now().Add(n.x.o.timeout())
		_, _ = n.conn.Logout(iscsi.CloseSession, 0) // it is closed all the same
		n.drop()
	}
}

// execute runs a command of the unit once. The error is a *condition, or the connection is lost.
func (n *nexus) execute(name string, cmd initiator.Command) ([]byte, error) {
	c, err := n.connection()
	if err != nil {
		return nil, err
	}
	cmd.LUN = wireLUN(n.x.lun)
	r, err := c.Execute(cmd)
	if err != nil {
		if !errors.Is(err, initiator.ErrRejected) {
			n.drop()
			n.x.lost.Add(1)
		}
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r.Data, conditionOf(name, r)
}

// conditionOf is nil for GOOD.
func conditionOf(name string, r *initiator.Result) error {
	if r.Response == iscsi.ResponseCompleted && r.Status == uint8(scsi.Good) {
		return nil
	}
	key, code := r.SenseCode()
	return &condition{name, scsi.Status(r.Status), scsi.SenseKey(key), scsi.SenseCode(code), r.Response, r.Sense}
}

// run runs a command; unit attentions are heard, and what the unit puts off is tried again.
func (n *nexus) run(name string, cdb, out []byte, in int) ([]byte, error) {
	const attempts = 20
	var err error
	for range attempts {
		var data []byte
		data, err = n.execute(name, initiator.Command{CDB: cdb, Write: out, Read: in})
		var c *condition
		if !errors.As(err, &c) {
			return data, err
		}
		switch {
		case c.key == scsi.KeyUnitAttention:
			if n.attentions = append(n.attentions, c.code); len(n.attentions) > 2*attempts {
				n.attentions = n.attentions[attempts:]
			}
		case c.status == scsi.Busy || c.status == scsi.TaskSetFull:
			if err := n.x.pause(100 * time.Millisecond); err != nil {
				return nil, err
			}
		default:
			return data, err
		}
	}
	return nil, fmt.Errorf("%w, %d times in a row", err, attempts)
}

// hear takes the unit attentions that wait, and gives them.
func (n *nexus) hear() ([]scsi.SenseCode, error) {
	n.attentions = nil
	_, err := n.run("TEST UNIT READY", make([]byte, 6), nil, 0)
	return n.attentions, err
}
