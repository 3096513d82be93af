package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/iscsi"
)

// healthBound is how long a healthy daemon may take to answer a login.
const healthBound = 5 * time.Second

func healthcheckCommand() *cli.Command {
	return &cli.Command{
		Name:  "healthcheck",
		Usage: "exit with 0 if a portal answers an iSCSI login",
		Flags: []cli.Flag{&cli.StringFlag{
			Name: "portal", Usage: "ask `ADDR:PORT` (default: the first of ISANTARGET_PORTAL, or " + string(configs.DefaultPortal) + ")",
			EnvVars: []string{"ISANTARGET_HEALTHCHECK_PORTAL"}, // a daemon with --config has no ISANTARGET_PORTAL
		}},
		Action: healthcheck,
	}
}

func healthcheck(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	portal, word := configs.DefaultPortal, c.String("portal")
	if served := strings.Fields(os.Getenv(environment("portal"))); word == "" && len(served) > 0 {
		word = served[0]
	}
	if word != "" {
		if err := portal.UnmarshalText([]byte(word)); err != nil {
			return fmt.Errorf("--portal: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(c.Context, healthBound)
	defer cancel()
	if err := ping(ctx, dialable(portal)); err != nil {
		return fmt.Errorf("%s: %w", portal, err)
	}
	return nil
}

// dialable is the address by which this host reaches a portal that may listen
// on all of them.
func dialable(p configs.Portal) string {
	host, port, _ := net.SplitHostPort(string(p))
	addr, err := netip.ParseAddr(host)
	switch {
	case host == "" || err == nil && addr == netip.IPv4Unspecified():
		host = "127.0.0.1"
	case err == nil && addr == netip.IPv6Unspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}

// ping logs in to a discovery session (RFC 7143 4.3). A daemon that wants proof
// of who we are is as well as one that lets us in.
func ping(ctx context.Context, address string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	if err := sendLogin(conn); err != nil {
		return err
	}
	response, err := receiveLogin(conn)
	if err != nil || response.Status != iscsi.LoginSuccess {
		return err
	}
	return logOut(conn, response)
}

// sendLogin asks for a discovery session in one PDU, straight to the full
// feature phase.
func sendLogin(w io.Writer) error {
	keys := "InitiatorName=iqn.2026-11.org.isantarget:healthcheck\x00SessionType=Discovery\x00AuthMethod=None\x00"
	login := iscsi.LoginRequest{
		Transit: true, CSG: iscsi.SecurityNegotiation, NSG: iscsi.FullFeaturePhase,
		ISID: iscsi.ISID{0x80}, // random (RFC 7143 11.12.5)
	}
	var h iscsi.BHS
	login.Marshal(&h)
	h.SetDataSegmentLength(len(keys))
	pdu := append(h[:], keys...)
	_, err := w.Write(append(pdu, make([]byte, iscsi.Pad(len(keys)))...))
	return err
}

// receiveLogin reads the answer, and is content with any that a live daemon gives.
func receiveLogin(r io.Reader) (iscsi.LoginResponse, error) {
	var h iscsi.BHS
	var response iscsi.LoginResponse
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return response, fmt.Errorf("no answer to a login: %w", err)
	}
	if err := response.Unmarshal(&h); err != nil {
		return response, fmt.Errorf("the answer to a login is none: %w", err)
	}
	if response.Status.Class() == iscsi.LoginClassTargetError {
		return response, fmt.Errorf("the target cannot serve: %v", response.Status)
	}
	rest := int64(h.TotalAHSLength() + h.DataSegmentLength() + iscsi.Pad(h.DataSegmentLength()))
	_, err := io.CopyN(io.Discard, r, rest)
	return response, err
}

// logOut takes leave, so that the daemon need not think that it lost us.
func logOut(conn io.ReadWriter, login iscsi.LoginResponse) error {
	logout := iscsi.LogoutRequest{Immediate: true, Reason: iscsi.CloseSession, InitiatorTaskTag: 1, CmdSN: login.ExpCmdSN, ExpStatSN: login.StatSN + 1}
	var h iscsi.BHS
	logout.Marshal(&h)
	if _, err := conn.Write(h[:]); err != nil {
		return err
	}
	if _, err := io.ReadFull(conn, h[:]); err != nil {
		return fmt.Errorf("no answer to a logout: %w", err)
	}
	return nil
}
