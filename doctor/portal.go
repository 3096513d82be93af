package doctor

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
)

func portalChecks() []Check {
	return []Check{
		{
			ID: "discovery", For: []Consumer{OpenISCSI, WindowsCluster, VMware}, scope: ofPortal, run: checkDiscovery,
			Title:  "a discovery session lists the targets, each with an address that can be reached",
			Breaks: "`iscsiadm -m discovery`, and adding the portal in Windows or VMware, find no target, or one that no login reaches",
			Remedy: "let discovery in for this initiator, and have the target announce the address by which hosts reach it, not a wildcard",
		}, {
			ID: "portals", For: []Consumer{Multipath}, scope: ofTarget, run: checkPortals,
			Title:  "every portal that the target announces accepts a login",
			Breaks: "hosts log in to every portal that discovery shows: each start waits for the dead one (open-iscsi 15 s and 8 attempts), and its path never comes",
			Remedy: "take the portal out of the target, or open its port and route",
		},
	}
}

func checkDiscovery(x *examination) (string, error) {
	targets, err := x.discover()
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(targets, func(t initiator.Target) bool { return x.target == "" || t.Name == x.target })
	if i < 0 && x.target != "" {
		return "", fmt.Errorf("%d targets are listed, and %s is none of them", len(targets), x.target)
	}
	if len(targets) == 0 {
		return "", errors.New("no target is listed")
	}
	for _, t := range targets {
		if _, err := iscsi.ParseName(t.Name); err != nil {
			return "", fmt.Errorf("TargetName: %w", err)
		}
		if err := reachable(t); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d targets: %s", len(targets), strings.Join(names(targets), ", ")), nil
}

// reachable judges the addresses that a target announces.
func reachable(t initiator.Target) error {
	for _, address := range t.Addresses {
		portal, _, ok := cutTag(address)
		p, err := parsePortal(portal)
		if err != nil || !ok {
			return fmt.Errorf("%s: TargetAddress=%s is not ADDRESS:PORT,TAG", t.Name, address)
		}
		host, _, _ := net.SplitHostPort(p)
		if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
			return fmt.Errorf("%s: TargetAddress=%s is a wildcard: no host can connect to it", t.Name, address)
		}
	}
	return nil
}

func checkPortals(x *examination) (string, error) {
	if !slices.ContainsFunc(x.listed, func(t initiator.Target) bool { return t.Name == x.target }) {
		return "", notChecked("discovery does not list this target")
	}
	var dead []string
	for _, p := range x.portals {
		x.allow()
		c, err := x.login(p, initiator.RandomISID())
		if err != nil {
			dead = append(dead, err.Error())
			continue
		}
		_, _ = c.Logout(iscsi.CloseSession, 0) // the connection ends anyway
		c.Close()
	}
	if len(dead) > 0 {
		return "", errors.New(strings.Join(dead, "; "))
	}
	return strings.Join(x.portals, ", "), nil
}
