package configs

import "fmt"

// A TargetRule is an access rule that stands outside of its target: it comes behind
// the rules within, in the order of names. So initiators can be admitted at run time
// to a target that stands in a file.
type TargetRule struct {
	Name       string         `toml:"name"`       // for the log, and to find it again
	Target     string         `toml:"target"`     // the iSCSI name of the target
	Initiators []string       `toml:"initiators"` // as in Rule, and so on
	Networks   []Network      `toml:"networks"`
	Hosts      []Host         `toml:"hosts"`
	CHAP       *Credential    `toml:"chap"`
	MutualCHAP *Credential    `toml:"mutual-chap"`
	LUNs       map[int]string `toml:"luns"`
}

// Rule is what stands in the target.
func (r TargetRule) Rule() Rule {
	return Rule{Label: r.Name, Initiators: r.Initiators, Networks: r.Networks, Hosts: r.Hosts, CHAP: r.CHAP, MutualCHAP: r.MutualCHAP, LUNs: r.LUNs}
}

// targetRules adds the access rules from outside to their targets.
func (k checker) targetRules() {
	names := map[string]string{}
	for i, r := range k.config.Rules {
		at := fmt.Sprintf("rule[%d]", i)
		k.name(names, r.Name, at, "rule")
		t, ok := k.target(r.Target, at, "rule")
		if !ok {
			continue
		}
		for key, c := range map[string]*Credential{".chap": r.CHAP, ".mutual-chap": r.MutualCHAP} {
			if c != nil {
				c.SecretFile = k.absolute(at+key, c.SecretFile)
			}
		}
		target := &k.config.Targets[t]
		k.alias(at, fmt.Sprintf("target[%d].rule[%d]", t, len(target.Rules)))
		target.Rules = append(target.Rules, r.Rule())
	}
}
