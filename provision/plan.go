package provision

import (
	"crypto/tls"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/dns"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/target"
)

// A plan is a configuration with its names and secrets resolved: all that can
// be found wrong without opening a store or a port.
type plan struct {
	configs.Config
	discovery proofs
	nodes     []nodePlan
	tokens    []Token          // of the admin plane
	cert      *tls.Certificate // that is named
	hosts     []*dns.Host      // that rules name, each once
}

// A nodePlan is a target of a plan.
type nodePlan struct {
	name  iscsi.Name
	rules []rulePlan
}

// A rulePlan is a rule whose LUNs are still names.
type rulePlan struct {
	target.Rule
	luns map[int]string
}

// Check says what is wrong with a configuration beyond what package configs
// knows: iSCSI names and secrets. No store is opened. warnings are what is
// probably not meant, or not there on this host.
func Check(want configs.Config) (warnings []string, err error) {
	warnings = want.Warnings()
	_, err = newPlan(want, dns.New(dns.Options{}), &warnings)
	return warnings, err
}

// newPlan resolves want. Its hosts are those that known watches, as far as it does. Secret
// files that are not there are complained of in missing if that is not nil, else they are
// errors.
func newPlan(want configs.Config, known *dns.Cache, missing *[]string) (*plan, error) {
	var errs configs.Errors
	s := secrets{config: want, known: known, hosts: map[configs.Host]*dns.Host{}, errors: &errs, missing: missing, chap: map[string][]byte{}, mutual: map[string][]byte{}}
	p := &plan{Config: want, discovery: s.pair("discovery", want.Discovery.CHAP, want.Discovery.MutualCHAP)}
	for i, t := range want.Targets {
		at := fmt.Sprintf("target[%d]", i)
		name, err := iscsi.ParseName(t.Name)
		if err != nil {
			errs = append(errs, want.Errorf(at+".name", "%v", plain(err)))
		}
		p.nodes = append(p.nodes, nodePlan{name: name, rules: s.rules(at, t)})
	}
	p.hosts = slices.Collect(maps.Values(s.hosts))
	p.tokens, p.cert = s.tokens(), s.certificate()
	s.reflected()
	if len(errs) > 0 {
		return nil, errs
	}
	return p, nil
}

// plain is an error without the name of the package it comes from.
func plain(err error) string { return strings.TrimPrefix(err.Error(), "iscsi: ") }

// rules are the access rules of t, and behind them what Access says.
func (s *secrets) rules(at string, t configs.Target) []rulePlan {
	own := s.pair(at, t.CHAP, t.MutualCHAP)
	var rules []rulePlan
	for j, r := range t.Rules {
		path := fmt.Sprintf("%s.rule[%d]", at, j)
		rule := rulePlan{luns: r.LUNs}
		if r.LUNs == nil {
			rule.luns = t.LUNs
		}
		rule.Label = r.Label
		if rule.Label == "" {
			rule.Label = fmt.Sprintf("rule %d", j+1)
		}
		for k, word := range r.Initiators {
			name, err := iscsi.ParseName(word)
			if err != nil {
				*s.errors = append(*s.errors, s.config.Errorf(fmt.Sprintf("%s.initiators[%d]", path, k), "%v", plain(err)))
			}
			rule.Initiators = append(rule.Initiators, name)
		}
		for _, n := range r.Networks {
			rule.Networks = append(rule.Networks, netip.Prefix(n))
		}
		for _, h := range r.Hosts {
			rule.Hosts = append(rule.Hosts, s.host(h))
		}
		proofs := s.pair(path, r.CHAP, r.MutualCHAP)
		rule.CHAP, rule.Mutual = proofs.chap, proofs.mutual
		if r.CHAP == nil {
			rule.CHAP = own.chap
		}
		if r.MutualCHAP == nil {
			rule.Mutual = own.mutual
		}
		rules = append(rules, rule)
	}
	switch t.Effective() {
	case configs.Open:
		rules = append(rules, rulePlan{Rule: target.Rule{Label: "open", CHAP: own.chap, Mutual: own.mutual}, luns: t.LUNs})
	case configs.Loopback:
		rules = append(rules, rulePlan{Rule: target.Rule{Label: "loopback", Networks: loopback(), CHAP: own.chap, Mutual: own.mutual}, luns: t.LUNs})
	}
	return rules
}

// loopback is where initiators on this host come from.
func loopback() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
}
