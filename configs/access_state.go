package configs

// An AccessState is in which asymmetric access state (SPC-4 5.15.2.4) a portal group
// leads to the LUNs of a target when the daemon starts. Initiators and
// administrators may change it while it runs.
type AccessState struct {
	PortalGroup int       `toml:"portal-group"` // tag
	State       PortState `toml:"state"`
	Preferred   bool      `toml:"preferred"` // PREF of REPORT TARGET PORT GROUPS (SPC-4 6.37)
	LUNs        []string  `toml:"luns"`      // names; empty: all of the target that no other entry names
}

func (a *AccessState) setDefaults() { a.State = Optimized }

// PortState is one of the states.
type PortState string

// The states a portal group may start in.
const (
	Optimized    PortState = "optimized"
	NonOptimized PortState = "non-optimized"
	Standby      PortState = "standby"
	Unavailable  PortState = "unavailable"
)

// UnmarshalText reads one of the states.
func (s *PortState) UnmarshalText(text []byte) error {
	return choose((*string)(s), text, []string{string(Optimized), string(NonOptimized), string(Standby), string(Unavailable)})
}

// AccessStateOf is the state in which the portal group leads to a LUN: what is
// written for the LUN, else for the group, else optimized.
func (t Target) AccessStateOf(portalGroup int, lun string) (state PortState, preferred bool) {
	state = Optimized
	for _, a := range t.AccessStates {
		if a.PortalGroup != portalGroup {
			continue
		}
		for _, name := range a.LUNs {
			if name == lun {
				return a.State, a.Preferred
			}
		}
		if len(a.LUNs) == 0 {
			state, preferred = a.State, a.Preferred
		}
	}
	return state, preferred
}
