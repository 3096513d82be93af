package configs

// A Target is an iSCSI target node (RFC 7143 2.1): a name under which LUNs are
// served to those who may use them.
//
// The first rule that an initiator fits decides. Behind the rules stands
// Access: everybody, or this host. Where there are no rules and no Access is
// written, it is this host; where there are rules, nobody else.
type Target struct {
	Name         string         `toml:"name"` // iqn., eui. or naa. name (RFC 7143 4.2.7)
	Alias        string         `toml:"alias"`
	PortalGroups []int          `toml:"portal-groups"` // tags; empty: all
	LUNs         map[int]string `toml:"luns"`          // LUN number -> name of a LUN
	Access       Access         `toml:"access"`
	CHAP         *Credential    `toml:"chap"`        // of Access, and of each rule that has none
	MutualCHAP   *Credential    `toml:"mutual-chap"` // likewise
	Rules        []Rule         `toml:"rule"`
	AccessStates []AccessState  `toml:"access-state"`
}

// A Rule admits initiators: all of its conditions have to hold.
type Rule struct {
	Label      string         `toml:"label"`      // for the log
	Initiators []string       `toml:"initiators"` // names; empty: any
	Networks   []Network      `toml:"networks"`   // where they come from: one of these,
	Hosts      []Host         `toml:"hosts"`      // or an address of one of these; both empty: anywhere
	CHAP       *Credential    `toml:"chap"`
	MutualCHAP *Credential    `toml:"mutual-chap"`
	LUNs       map[int]string `toml:"luns"` // what they see; nil: the LUNs of the target
}

// Access is who may log in where no rule decides.
type Access string

// The words of Access.
const (
	AccessDefault Access = ""         // loopback where there are no rules, else nobody
	Loopback      Access = "loopback" // initiators on this host
	Open          Access = "open"     // every initiator that reaches a portal
)

// UnmarshalText reads one of the words.
func (a *Access) UnmarshalText(text []byte) error {
	return choose((*string)(a), text, []string{string(Open), string(Loopback)})
}

// Effective is Access with its default in place; empty: nobody but by a rule.
func (t Target) Effective() Access {
	if t.Access == AccessDefault && len(t.Rules) == 0 {
		return Loopback
	}
	return t.Access
}
