package configs

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Port is the one that IANA gave to iSCSI (RFC 7143 14).
const Port = 3260

// A PortalGroup is the portals that one session may span (RFC 7143 3.4.1). It
// is a SCSI target port.
type PortalGroup struct {
	Tag    int      `toml:"tag"`    // target portal group tag, 1 to 65535
	Listen []Portal `toml:"listen"` // at least one
}

// A Portal is an IP address and a TCP port to listen on, as package net takes
// it: "192.0.2.1:3260", "[2001:db8::1]:3260", ":3260" for every address.
type Portal string

// UnmarshalText reads a portal; without a port it is 3260.
func (p *Portal) UnmarshalText(text []byte) error {
	word, err := parseAddress(string(text), Port)
	*p = Portal(word)
	return err
}

// parseAddress reads an IP address and a TCP port, which is port if none is given.
func parseAddress(word string, port int) (string, error) {
	host, number, err := net.SplitHostPort(word)
	if err != nil {
		host, number = strings.TrimSuffix(strings.TrimPrefix(word, "["), "]"), strconv.Itoa(port)
		if host == "" {
			return "", fmt.Errorf(`an address is missing; write it as "192.0.2.1:%d" or "[2001:db8::1]:%d"`, port, port)
		}
	}
	if host != "" {
		if _, err := netip.ParseAddr(host); err != nil {
			return "", fmt.Errorf(`%q is not an IP address and port; write it as "192.0.2.1:%d" or "[2001:db8::1]:%d"`, word, port, port)
		}
	}
	if _, err := strconv.ParseUint(number, 10, 16); err != nil {
		return "", fmt.Errorf("%q is not a TCP port; write one of 1 to 65535, or 0 for a free one", number)
	}
	return net.JoinHostPort(host, number), nil
}

// Local tells whether only this host can reach the portal.
func (p Portal) Local() bool { return isLoopback(string(p)) }

// A Network is addresses that initiators come from: "10.1.0.0/16", or one address.
type Network netip.Prefix

// UnmarshalText reads a network in CIDR notation or a single address.
func (n *Network) UnmarshalText(text []byte) error {
	word := string(text)
	if addr, err := netip.ParseAddr(word); err == nil {
		addr = addr.Unmap()
		*n = Network(netip.PrefixFrom(addr, addr.BitLen()))
		return nil
	}
	p, err := netip.ParsePrefix(word)
	if err != nil {
		return fmt.Errorf(`%q is not a network; write it as "10.1.0.0/16", "2001:db8::/32" or one address`, word)
	}
	if p != p.Masked() {
		return fmt.Errorf("%q has bits behind its length; write %s for the network or %s for the one address", word, p.Masked(), p.Addr())
	}
	*n = Network(p)
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (n Network) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// String is the network in CIDR notation.
func (n Network) String() string { return netip.Prefix(n).String() }
