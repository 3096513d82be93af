package provision

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/isantarget/isantarget/configs"
)

// A portal is a bound address on which nobody is accepted yet.
type portal struct {
	tag      int
	network  string
	listener net.Listener
}

// bind binds all portals of a configuration, in its order. If one cannot be
// bound none is.
func bind(ctx context.Context, want configs.Config) ([]portal, error) {
	var portals []portal
	var errs configs.Errors
	for i, g := range want.PortalGroups {
		for j, address := range g.Listen {
			network, host := family(address)
			l, err := (&net.ListenConfig{}).Listen(ctx, network, string(address))
			if err != nil {
				errs = append(errs, want.Errorf(fmt.Sprintf("portal-group[%d].listen[%d]", i, j), "%s", explainBind(err, string(address), host)))
				continue
			}
			portals = append(portals, portal{tag: g.Tag, network: network, listener: l})
		}
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

func explainBind(err error, address, host string) string {
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
