package state

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"path/filepath"
)

// TargetPorts are the relative target port identifiers (SPC-4 7.8.6.7) of the target
// ports with these SCSI names. A logical unit may be reached through ports of several
// targets, so no two ports have the same; and a port that has one keeps it, whatever
// ports come and go, for reservations and path states speak of it. New ones take the
// lowest that are free, in the order of names. It returns when that is durable.
func (d *Directory) TargetPorts(names []string) (map[string]uint16, error) {
	d.making.Lock()
	defer d.making.Unlock()
	file := filepath.Join(d.path, "target-ports.json")
	record, err := read(file)
	if err != nil {
		return nil, err
	}
	ports := map[string]uint16{}
	if record != nil {
		if err := json.Unmarshal(record, &ports); err != nil {
			return nil, fmt.Errorf("state: %s is damaged (%w): mend it, or remove it to number the target ports anew", file, err)
		}
	}
	if ports == nil {
		return nil, fmt.Errorf("state: %s is damaged (it says null): mend it, or remove it to number the target ports anew", file)
	}
	taken := map[uint16]string{0: ""}
	for name, id := range ports {
		if name == "" {
			return nil, fmt.Errorf("state: %s gives the number %d to no name: mend it, or remove it to number the target ports anew", file, id)
		}
		if other, twice := taken[id]; twice {
			return nil, fmt.Errorf("state: %s gives the number %d to %q and %q: mend it, or remove it to number the target ports anew", file, id, name, other)
		}
		taken[id] = name
	}
	before, next := len(ports), uint16(1)
	for _, name := range names {
		if _, has := ports[name]; has {
			continue
		}
		for taken[next] != "" {
			if next == math.MaxUint16 {
				return nil, fmt.Errorf("state: %s: there are no more numbers for target ports: remove those that are not used any more", file)
			}
			next++
		}
		ports[name], taken[next] = next, name
	}
	if len(ports) == before {
		return ports, nil
	}
	record, err = json.MarshalIndent(ports, "", "\t")
	if err == nil {
		err = d.replace(file, append(record, '\n'))
	}
	if err != nil {
		return nil, err
	}
	return maps.Clone(ports), nil
}
