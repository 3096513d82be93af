package provision

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/isantarget/isantarget/configs"
)

// A portal is a bound address.
type portal struct {
	tag      int
	address  configs.Portal // as it is configured
	network  string
	listener net.Listener
}

// A place is where a configuration wants a portal.
type place struct {
	path    string // in the configuration
	tag     int
	address configs.Portal
}

// placesOf are the places of all portals, in the order of the configuration.
func placesOf(c configs.Config) []place {
	var places []place
	for i, g := range c.PortalGroups {
		for j, address := range g.Listen {
			places = append(places, place{fmt.Sprintf("portal-group[%d].listen[%d]", i, j), g.Tag, address})
		}
	}
	return places
}

// bind binds portals on which nobody is accepted yet. If one cannot be bound none
// is. Sockets that the process was started with are not bound again. leaving are portals
// of ours that are still bound, and will not be.
func bind(ctx context.Context, inherited *sockets, want configs.Config, places []place, leaving []portal) ([]portal, error) {
	var portals []portal
	var errs configs.Errors
	for _, at := range places {
		network, host := family(at.address)
		if l := inherited.take(at.address); l != nil {
			portals = append(portals, portal{tag: at.tag, address: at.address, network: network, listener: l})
			continue
		}
		l, err := (&net.ListenConfig{}).Listen(ctx, network, string(at.address))
		if err != nil {
			errs = append(errs, want.Errorf(at.path, "%s", explainBind(err, string(at.address), host, leaving, inherited)))
			continue
		}
		portals = append(portals, portal{tag: at.tag, address: at.address, network: network, listener: l})
	}
	if len(errs) > 0 {
		unbind(portals)
		return nil, errs
	}
	return portals, nil
}

func unbind(portals []portal) {
	for _, p := range portals {
		p.listener.Close()
	}
}

// family is the network that package net has to be asked for, so that "0.0.0.0"
// is IPv4 and "[::]" is IPv6 alone, and both can stand side by side; no host is
// both at once.
func family(p configs.Portal) (network, host string) {
	host, _, _ = net.SplitHostPort(string(p))
	switch host {
	case "0.0.0.0":
		return "tcp4", host
	case "::":
		return "tcp6", host
	}
	return "tcp", host
}

func explainBind(err error, address, host string, leaving []portal, inherited *sockets) string {
	_, port, _ := net.SplitHostPort(address)
	if has := inherited.onPort(port); has != "" && errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Sprintf("this process was started with a socket on %s, which is not quite %s; make the two equal (systemctl edit isantarget.socket)", has, address)
	}
	for _, p := range leaving {
		if _, taken, _ := net.SplitHostPort(p.listener.Addr().String()); taken == port && errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Sprintf("the portal %s of group %d, which is to go, still has this port; take it out and apply, then add %s", p.address, p.tag, address)
		}
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Sprintf("another program listens on %s (ss -ltnp shows which); stop it or choose another port", address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Sprintf("this host has no address %s (ip address shows what it has)", host)
	case errors.Is(err, syscall.EACCES):
		return fmt.Sprintf("not allowed to listen on %s; ports below 1024 need root", address)
	}
	return fmt.Sprintf("cannot listen on %s: %v", address, err)
}

// reachable is an address under which this host reaches the portal: a loopback
// address where it listens on all.
func (p portal) reachable() string {
	address := p.listener.Addr().String()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if p.network == "tcp6" {
			host = "::1"
		}
	}
	return net.JoinHostPort(host, port)
}
