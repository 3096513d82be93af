package configs

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// A DNS says who is asked for the addresses of hosts that rules name.
type DNS struct {
	Server Resolver `toml:"server"` // empty: whom the system asks
}

// dnsPort is the UDP and TCP port of DNS (RFC 1035 4.2).
const dnsPort = 53

// A Resolver is the address and port of a DNS server: "192.0.2.53:53".
type Resolver string

// UnmarshalText reads an address; without a port it is 53.
func (r *Resolver) UnmarshalText(text []byte) error {
	word, err := parseAddress(string(text), dnsPort)
	if err != nil {
		return err
	}
	at, err := netip.ParseAddrPort(word)
	if err != nil || at.Port() == 0 {
		return fmt.Errorf(`%q is not the address of a DNS server; write it as "192.0.2.53" or "192.0.2.53:5353"`, string(text))
	}
	*r = Resolver(word)
	return nil
}

// A Host is the name of a host that initiators are on: "pve1.example.org". It has no dot at
// its end, and small letters.
type Host string

// UnmarshalText reads the name of one host: no pattern, and no address.
func (h *Host) UnmarshalText(text []byte) error {
	word := strings.ToLower(strings.TrimSuffix(string(text), "."))
	if word == "" {
		return errors.New(`a host is missing; write its name: "host.example.org"`)
	}
	if strings.Contains(word, "*") {
		return fmt.Errorf("%q is a pattern, and addresses are never asked for their names; write each host by its own", string(text))
	}
	last := word[strings.LastIndex(word, ".")+1:]
	if _, err := netip.ParseAddr(word); err == nil || last != "" && strings.Trim(last, "0123456789") == "" {
		return fmt.Errorf("%q is not a name; addresses stand in networks", string(text))
	}
	if err := checkHostName(word); err != nil {
		return err
	}
	*h = Host(word)
	return nil
}

// maxHosts is how many names all rules together may have: each is looked up every minute.
const maxHosts = 256

// hosts checks how many hosts rules name.
func (k checker) hosts() {
	names := map[Host]bool{}
	for i, t := range k.config.Targets {
		for j, r := range t.Rules {
			for n, h := range r.Hosts {
				if names[h] = true; len(names) > maxHosts {
					k.fail(fmt.Sprintf("target[%d].rule[%d].hosts[%d]", i, j, n), "is one host too many: all rules together may name %d; use networks", maxHosts)
					return
				}
			}
		}
	}
}
