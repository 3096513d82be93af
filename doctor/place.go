package doctor

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/isantarget/isantarget/iscsi"
)

// AnyLUN stands for every logical unit of a target.
const AnyLUN = -1

// A Place is what a URL names: a portal, and perhaps a target of it and a logical unit of
// that.
type Place struct {
	Portal string // HOST:PORT
	Target string // iSCSI name; empty: every target that discovery shows
	LUN    int    // number; AnyLUN: every disk
	User   string // for CHAP, if the URL has one
}

// ParsePlace reads iscsi://[USER@]HOST[:PORT][/IQN[/LUN]], as libiscsi has it, or only
// HOST[:PORT]. A password in the URL is refused.
func ParsePlace(text string) (Place, error) {
	p := Place{LUN: AnyLUN}
	rest, ok := strings.CutPrefix(text, "iscsi://")
	if !ok {
		if strings.Contains(text, "://") {
			return p, fmt.Errorf("%q begins with another scheme than iscsi://", redacted(text))
		}
		rest = text
	}
	if before, after, ok := strings.Cut(rest, "@"); ok && !strings.Contains(before, "/") {
		if strings.ContainsAny(before, "%:") {
			return p, errors.New("the URL has a password in it, which every user of this host can read in the list of processes: leave it out, and give --secret-file FILE or set ISANTARGET_CHAP_SECRET")
		}
		p.User, rest = before, after
	}
	rest, query, _ := strings.Cut(rest, "?")
	if query != "" {
		return p, errors.New("what stands behind the ? of a URL is not understood; leave it out")
	}
	portal, path, _ := strings.Cut(rest, "/")
	var err error
	if p.Portal, err = parsePortal(portal); err != nil {
		return p, err
	}
	target, lun, _ := strings.Cut(path, "/")
	if target == "" {
		if lun != "" {
			return p, errors.New("the URL has a LUN and no target; write iscsi://HOST/IQN/LUN")
		}
		return p, nil
	}
	name, err := iscsi.ParseName(target)
	if err != nil {
		return p, err
	}
	p.Target = string(name)
	if lun = strings.TrimSuffix(lun, "/"); lun != "" {
		if p.LUN, err = strconv.Atoi(lun); err != nil || p.LUN < 0 || p.LUN > 16383 {
			return p, fmt.Errorf("%q is not a LUN; write a number from 0 to 16383", lun)
		}
	}
	return p, nil
}

// redacted is a URL without what may be a secret.
func redacted(text string) string {
	if u, err := url.Parse(text); err == nil {
		return u.Redacted()
	}
	return "the URL"
}

// parsePortal reads HOST, HOST:PORT, an IPv6 address or [ADDRESS]:PORT.
func parsePortal(text string) (string, error) {
	if text == "" {
		return "", errors.New("the URL names no host; write iscsi://HOST/IQN/LUN")
	}
	host, port := text, "3260"
	switch {
	case strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]"):
		host = text[1 : len(text)-1]
	case strings.Count(text, ":") == 1 || strings.HasPrefix(text, "["):
		var err error
		if host, port, err = net.SplitHostPort(text); err != nil {
			return "", fmt.Errorf("%q is not a host and port; write 192.0.2.1:3260 or [2001:db8::1]:3260", text)
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" {
		return "", fmt.Errorf("%q is not a host and port; write 192.0.2.1:3260 or [2001:db8::1]:3260", text)
	}
	return net.JoinHostPort(host, port), nil
}

// String is the URL of the place, without the user.
func (p Place) String() string {
	s := "iscsi://" + p.Portal
	if p.Target != "" {
		s += "/" + p.Target
	}
	if p.LUN != AnyLUN {
		s += "/" + strconv.Itoa(p.LUN)
	}
	return s
}

// wireLUN is a logical unit number as the wire has it (SAM-5 4.7): peripheral device
// addressing below 256, flat space addressing above.
func wireLUN(n int) uint64 {
	if n < 256 {
		return uint64(n) << 48
	}
	return uint64(0x4000|n) << 48
}

// lunOf reads a number as REPORT LUNS has it; false: it is none that we can name.
func lunOf(p []byte) (int, bool) {
	switch method := p[0] >> 6; {
	case method == 0 && p[0] == 0:
		return int(p[1]), true
	case method == 1:
		return int(p[0]&0x3f)<<8 | int(p[1]), true
	}
	return 0, false
}
