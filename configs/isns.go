package configs

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// An ISNS says with which iSNS server (RFC 4171) the targets are registered, so that
// initiators that ask it find them. Who may log in is decided here, whatever it says.
type ISNS struct {
	Server  NameServer    `toml:"server"`              // empty: none
	Period  time.Duration `toml:"registration-period"` // silence after which the server may forget us
	Inquiry time.Duration `toml:"inquiry-interval"`    // how often it may ask whether we are there (ESI); 0: never
	Port    int           `toml:"port"`                // where it sends inquiries and notices; 0: a free one
}

func (n *ISNS) setDefaults() { n.Period, n.Inquiry = 10*time.Minute, time.Minute }

// isnsPort is the TCP port that IANA gave to iSNS (RFC 4171 5.2.2).
const isnsPort = 3205

// A NameServer is the host and port of an iSNS server: "isns.example.org:3205".
type NameServer string

// UnmarshalText reads a host, by name or address; without a port it is 3205.
func (s *NameServer) UnmarshalText(text []byte) error {
	host, err := hostAndPort(string(text), isnsPort)
	*s = NameServer(host)
	return err
}

// hostAndPort is a word with the port that it has, or this one.
func hostAndPort(word string, port int) (string, error) {
	host, given, err := net.SplitHostPort(word)
	if err != nil {
		host, given = strings.TrimSuffix(strings.TrimPrefix(word, "["), "]"), strconv.Itoa(port)
	}
	if _, err := netip.ParseAddr(host); err != nil {
		if err := checkHostName(host); err != nil {
			return "", err
		}
	}
	if n, err := strconv.ParseUint(given, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("%q is not a port; write one of 1 to 65535", given)
	}
	return net.JoinHostPort(host, given), nil
}

// checkHostName complains of what cannot be the name of a host (RFC 1123 2.1).
func checkHostName(name string) error {
	if name == "" {
		return errors.New(`a host is missing; write its name or its address: "host.example.org" or "192.0.2.1"`)
	}
	if len(name) > 253 {
		return fmt.Errorf("%q is too long for the name of a host", name)
	}
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, letters) != "" || label[0] == '-' {
			return fmt.Errorf(`%q is not the name of a host; write it as "host.example.org"`, name)
		}
	}
	return nil
}

// isns checks what is said of the iSNS server.
func (k checker) isns() {
	n := k.config.ISNS
	if n.Port < 0 || n.Port > 65535 {
		k.fail("isns.port", "%d is not a TCP port; write one of 1 to 65535, or 0 for a free one", n.Port)
	}
	if n.Period != 0 && (n.Period < time.Second || n.Period >= 24*time.Hour) {
		k.fail("isns.registration-period", `%v is out of range; write "1s" to "23h"`, n.Period)
	}
	if n.Inquiry != 0 && (n.Inquiry < time.Second || n.Inquiry > time.Hour) {
		k.fail("isns.inquiry-interval", `%v is out of range; write "1s" to "1h", or "0s" for never`, n.Inquiry)
	}
}
