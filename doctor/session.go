package doctor

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/scsi"
)

// The least that a command window must have: open-iscsi's queue_depth.
const leastWindow = 32

func sessionChecks() []Check {
	return []Check{
		{
			ID: "login-keys", For: []Consumer{OpenISCSI, VMware, WindowsCluster}, scope: ofTarget, run: checkLoginKeys,
			Title:  "a login with open-iscsi's defaults succeeds, every key is answered, and in range",
			Breaks: "hosts refuse the session, or fall back to parameters that nobody meant",
			Remedy: "update the target; as a way around, set the key in iscsid.conf to what the target answers well",
		}, {
			ID: "unknown-key", For: []Consumer{OpenISCSI}, scope: ofTarget, run: checkUnknownKey,
			Title:  "a key that the target does not know is answered with NotUnderstood, and the login goes on (RFC 7143 6.2)",
			Breaks: "initiators that offer newer keys, as later versions of open-iscsi and VMware do, cannot log in",
			Remedy: "update the target",
		}, {
			ID: "nop-out", For: []Consumer{OpenISCSI}, scope: ofTarget, run: checkNopOut,
			Title:  "a NOP-Out comes back with its data, also while reads are under way",
			Breaks: "open-iscsi pings every 5 s, and drops the connection after 5 s without an answer: I/O stalls again and again",
			Remedy: "see what the target waits for: one that pings through its queue of commands stalls when its disks do",
		}, {
			ID: "command-window", For: []Consumer{OpenISCSI}, scope: ofTarget, run: checkCommandWindow,
			Title:  "the command window lets at least 32 commands in",
			Breaks: "nothing, but every queue is short: a host never has more commands in flight than the window, whatever its queue_depth",
			Remedy: "raise the queue depth of the target",
		}, {
			ID: "session-reinstatement", For: []Consumer{OpenISCSI, WindowsCluster}, scope: ofTarget, run: checkReinstatement,
			Title:  "a login under the same initiator name and ISID takes the place of the session that is there, and ends it (RFC 7143 6.3.5)",
			Breaks: "a host whose connection broke cannot come back before the target has noticed; or its old session goes on writing",
			Remedy: "update the target; a shorter time-out for dead connections helps",
		}, {
			ID: "reconnect", For: []Consumer{OpenISCSI, Multipath}, scope: ofTarget, run: checkReconnect,
			Title:  "after the connection was cut, a login at once succeeds, and the unit is read",
			Breaks: "a cable that is pulled for a second costs the path for minutes",
			Remedy: "update the target",
		}, {
			ID: "logout", For: []Consumer{OpenISCSI}, scope: ofTarget, run: checkLogout,
			Title:  "a logout is answered, and the target closes the connection",
			Breaks: "`iscsiadm --logout` and shutting a host down wait for 15 s",
			Remedy: "update the target",
		}, {
			ID: "abort-task", For: []Consumer{OpenISCSI, VMware}, scope: ofTarget, run: checkAbortTask,
			Title:  "ABORT TASK of a command that has just ended is answered: complete, or task does not exist",
			Breaks: "a host whose command timed out resets the unit, then the target, then drops the session: for all its disks",
			Remedy: "update the target",
		}, {
			ID: "missing-lun", For: []Consumer{Everybody}, scope: ofTarget, run: checkMissingLUN,
			Title:  "a LUN that is not there says so (peripheral qualifier 011b, or LOGICAL UNIT NOT SUPPORTED)",
			Breaks: "hosts find disks that do not exist, or the same one under every number",
			Remedy: "update the target; hosts may be told which LUNs to look for",
		}, {
			ID: "report-luns", For: []Consumer{Everybody, WindowsCluster}, scope: ofTarget, run: checkReportLUNs,
			Title:  "REPORT LUNS lists what is there, each once, and LUN 0 answers",
			Breaks: "hosts scan by REPORT LUNS to LUN 0: they find no disk, or miss one",
			Remedy: "map a disk as LUN 0",
		},
	}
}

func checkLoginKeys(x *examination) (string, error) {
	c, err := x.login(x.portal, initiator.RandomISID())
	if err != nil {
		return "", err
	}
	defer leave(c)
	var missing []string
	for _, kv := range offered() {
		answer, ok := c.Answers[kv.Key]
		rule, known := iscsi.LookupKey(kv.Key)
		marker := kv.Key == "IFMarker" || kv.Key == "OFMarker" // obsolete since RFC 7143: any answer will do
		switch {
		case !ok && known && rule.Kind.Negotiated() && !marker:
			missing = append(missing, kv.Key+" is not answered")
		case ok && (answer == iscsi.AnswerReject || answer == iscsi.AnswerNotUnderstood) && !marker:
			missing = append(missing, kv.Key+"="+answer)
		}
	}
	for _, v := range x.violations {
		if strings.Contains(v, "RFC 7143 13.") {
			missing = append(missing, v)
		}
	}
	if len(missing) > 0 {
		return "", errors.New(strings.Join(missing, "; "))
	}
	p := c.Session.Parameters
	return fmt.Sprintf("InitialR2T=%v ImmediateData=%v FirstBurst=%d MaxBurst=%d MaxRecvDataSegment=%d", p.InitialR2T, p.ImmediateData, p.FirstBurstLength, p.MaxBurstLength, c.MaxSend), nil
}

// leave logs out and closes.
func leave(c *initiator.Connection) {
	_, _ = c.Logout(iscsi.CloseSession, 0) // it is closed all the same
	c.Close()
}

func checkUnknownKey(x *examination) (string, error) {
	const key = "X-org.isantarget.Doctor"
	c, err := x.login(x.portal, initiator.RandomISID(), func(l *initiator.Login) {
		l.Keys = with(l.Keys, iscsi.KeyValue{Key: key, Value: "1"})
	})
	if err != nil {
		return "", fmt.Errorf("with %s=1 in it: %w", key, err)
	}
	defer leave(c)
	if answer := c.Answers[key]; answer != iscsi.AnswerNotUnderstood {
		return "", fmt.Errorf("%s=1 is answered with %q", key, answer)
	}
	return "NotUnderstood", nil
}

func checkNopOut(x *examination) (string, error) {
	c, err := x.a.connection()
	if err != nil {
		return "", err
	}
	data := pattern(200, 1)
	start := time.Now()
	echo, err := c.Ping(data, true)
	if err != nil {
		x.a.drop()
		return "", fmt.Errorf("NOP-Out: %w", err)
	}
	took := time.Since(start)
	if !bytes.Equal(echo, data) {
		return "", fmt.Errorf("NOP-In brings back %d bytes that differ from the %d of the NOP-Out", len(echo), len(data))
	}
	if _, err := x.pipeline(x.a, 8, func() error {
		_, err := c.Ping(data, true)
		return err
	}); err != nil {
		return "", fmt.Errorf("NOP-Out behind reads: %w", err)
	}
	return fmt.Sprintf("answered in %v", took.Round(10*time.Microsecond)), nil
}

// pipeline has n reads of the first blocks in flight, does what meanwhile says, and waits
// for the reads. It counts the statuses.
func (x *examination) pipeline(n *nexus, count int, meanwhile func() error) (map[scsi.Status]int, error) {
	ended := map[scsi.Status]int{}
	size, err := x.capacity()
	if err != nil {
		if answered(err) {
			return ended, nil // LUN 0 is no disk: nothing to read
		}
		return nil, err
	}
	c, err := n.connection()
	if err != nil {
		return nil, err
	}
	blocks := max(1, 4096/size.size)
	if size.blocks < uint64(blocks) {
		blocks = 1
	}
	var tasks []*initiator.Task
	fail := func(err error) (map[scsi.Status]int, error) {
		n.drop()
		return nil, err
	}
	for range count {
		t, err := c.Start(initiator.Command{LUN: wireLUN(x.lun), CDB: blockCDB10(0x28, 0, 0, blocks), Read: blocks * size.size})
		if err != nil {
			return fail(err)
		}
		tasks = append(tasks, t)
	}
	if meanwhile != nil {
		if err := meanwhile(); err != nil {
			return fail(err)
		}
	}
	for _, t := range tasks {
		r, err := t.Wait()
		if err != nil {
			return fail(err)
		}
		ended[scsi.Status(r.Status)]++
	}
	return ended, nil
}

func checkCommandWindow(x *examination) (string, error) {
	c, err := x.a.connection()
	if err != nil {
		return "", err
	}
	window := int(int32(c.Session.MaxCmdSN-c.Session.CmdSN)) + 1
	if window < leastWindow {
		return "", fmt.Errorf("%d commands", window)
	}
	return fmt.Sprintf("%d commands", window), nil
}

func checkReinstatement(x *examination) (string, error) {
	isid := initiator.RandomISID()
	old, err := x.login(x.portal, isid)
	if err != nil {
		return "", err
	}
	defer old.Close()
	c, err := x.login(x.portal, isid)
	if err != nil {
		return "", fmt.Errorf("while the old session lives: %w", err)
	}
	defer leave(c)
	old.Timeout = min(old.Timeout, 5*time.Second)
	if err := old.WaitClosed(); err != nil {
		return "", fmt.Errorf("the old connection is still open after %v", old.Timeout)
	}
	if _, err := c.Ping(nil, true); err != nil {
		return "", fmt.Errorf("the new session does not live: %w", err)
	}
	return "the old connection was closed", nil
}

func checkReconnect(x *examination) (string, error) {
	if _, err := x.a.connection(); err != nil {
		return "", err
	}
	if err := x.a.conn.Reset(); err != nil {
		return "", err
	}
	x.a.drop()
	start := time.Now()
	if _, err := x.a.run("INQUIRY", []byte{0x12, 0, 0, 0, 36, 0}, nil, 36); err != nil {
		return "", err
	}
	if _, err := x.a.hear(); err != nil && !answered(err) {
		return "", err
	}
	return fmt.Sprintf("back after %v", time.Since(start).Round(time.Millisecond)), nil
}

func checkLogout(x *examination) (string, error) {
	c, err := x.login(x.portal, initiator.RandomISID())
	if err != nil {
		return "", err
	}
	defer c.Close()
	r, err := c.Logout(iscsi.CloseSession, 0)
	if err != nil {
		return "", err
	}
	if r.Response != iscsi.LogoutClosed {
		return "", fmt.Errorf("the logout is answered with %v", r.Response)
	}
	c.Timeout = min(c.Timeout, 10*time.Second) // open-iscsi waits for 15
	if err := c.WaitClosed(); err != nil {
		return "", fmt.Errorf("the target still has the connection open %v after it answered", c.Timeout)
	}
	return "answered, and closed", nil
}

func checkAbortTask(x *examination) (string, error) {
	c, err := x.a.connection()
	if err != nil {
		return "", err
	}
	t, err := c.Start(initiator.Command{LUN: wireLUN(x.lun), CDB: []byte{0x12, 0, 0, 0, 36, 0}, Read: 36})
	if err == nil {
		_, err = t.Wait()
	}
	if err != nil {
		x.a.drop()
		return "", err
	}
	answer, err := c.Abort(t)
	if err != nil {
		x.a.drop()
		return "", err
	}
	if answer != iscsi.FunctionComplete && answer != iscsi.TaskDoesNotExist {
		return "", fmt.Errorf("ABORT TASK is answered with %v", answer)
	}
	return answer.String(), nil
}

func checkMissingLUN(x *examination) (string, error) {
	all, err := x.reportLUNs()
	if err != nil {
		return "", err
	}
	free := 200
	for i := 0; i < len(all); i++ {
		if all[i] == free {
			free, i = free+1, -1
		}
	}
	if free > 255 {
		return "", notChecked("every number is taken")
	}
	was := x.lun
	defer func() { x.lun = was }()
	x.lun = free
	data, err := x.a.run("INQUIRY", []byte{0x12, 0, 0, 0, 36, 0}, nil, 36)
	if err != nil && !answered(err) {
		return "", err
	}
	if err == nil && byteAt(data, 0)>>5 != 3 && byteAt(data, 0)&0x1f != 0x1f {
		return "", fmt.Errorf("LUN %d, which REPORT LUNS does not list, answers INQUIRY as a device of type %02Xh", free, byteAt(data, 0))
	}
	if _, err = x.a.run("TEST UNIT READY", make([]byte, 6), nil, 0); err == nil {
		return "", fmt.Errorf("LUN %d, which REPORT LUNS does not list, is ready", free)
	} else if !answered(err) {
		return "", err
	}
	return fmt.Sprintf("LUN %d: %v", free, err), nil
}

func checkReportLUNs(x *examination) (string, error) {
	all, err := x.reportLUNs()
	if err != nil {
		return "", err
	}
	seen := map[int]bool{}
	for _, n := range all {
		if seen[n] {
			return "", fmt.Errorf("LUN %d is listed twice", n)
		}
		seen[n] = true
	}
	if len(x.units) == 0 && x.lun != AnyLUN && !seen[x.lun] {
		return "", fmt.Errorf("%d LUNs are listed, LUN %d not among them", len(all), x.lun)
	}
	was := x.lun
	defer func() { x.lun = was }()
	x.lun = 0
	data, err := x.a.run("INQUIRY to LUN 0", []byte{0x12, 0, 0, 0, 36, 0}, nil, 36)
	if err != nil {
		return "", err
	}
	if !seen[0] || byteAt(data, 0)>>5 == 3 {
		return "", fmt.Errorf("%d LUNs are listed, and there is no LUN 0", len(all))
	}
	return fmt.Sprintf("%d LUNs, %d of them disks", len(all), len(x.units)), nil
}
