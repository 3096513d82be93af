package scsi

import (
	"context"
	"fmt"
	"strings"
)

// removal says that a unit is being taken away, and how its commands end from now on.
type removal struct{ answer error }

// Remove takes the unit away: the commands in its task set end with TASK ABORTED,
// whatever TAS says, for no other initiator caused it; those that come later end with
// answer (LOGICAL UNIT NOT SUPPORTED, or BUSY where the unit is to be back in a
// moment). When it returns nil no command can touch the medium any more. It waits at
// most HangBound: then the error names what hangs, and [LogicalUnit.Idle] tells when
// that has ended.
//
// What the unit keeps for nexuses, and what is recorded of it, stays.
func (lu *LogicalUnit) Remove(answer error) error {
	lu.removed.Store(&removal{answer})
	// Who entered before is aborted; who enters after this finds removed.
	if hanging := lu.revoke(func(*Command) bool { return true }); len(hanging) > 0 {
		return fmt.Errorf("scsi: logical unit %s is removed, but commands hang in its store: %s", lu.Identity.Serial, strings.Join(hanging, ", "))
	}
	return nil
}

// Restore takes back what Remove has done.
func (lu *LogicalUnit) Restore() { lu.removed.Store(nil) }

// Succeed gives the unit, which nobody has used yet, the reservations and access
// states of old, which was removed: its medium is opened anew, and who is fenced from
// it stays so. It goes on counting where old has ended.
func (lu *LogicalUnit) Succeed(old *LogicalUnit) {
	lu.countWith(old.meter)
	before, groups := old.reservations.Load(), old.PortGroups()
	lu.mu.Lock()
	defer lu.mu.Unlock()
	lu.publishReservations(reservations{persistent: before.clone(), lost: before.lost})
	lu.publish(groups)
}

// Idle waits until no command is in the task set, or ctx ends.
func (lu *LogicalUnit) Idle(ctx context.Context) error {
	for {
		changed := lu.tasks.watch(func(*Command) bool { return true })
		if changed == nil {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Unmap ends the I_T_L nexus of n, from whose LUN map the unit was taken: as
// NexusLost, but n is there to hear that its commands end with TASK ABORTED. It tells
// whether none of them can act any more.
func (lu *LogicalUnit) Unmap(n *Nexus) bool {
	if lu.absent {
		return true
	}
	hanging := lu.revoke(func(c *Command) bool { return c.Nexus == n })
	if lu.detach(n) {
		lu.lose(n)
		hanging = append(hanging, lu.revoke(latecomer(n))...)
	}
	return len(hanging) == 0
}

// revoke aborts commands by the target's own will: each ends with TASK ABORTED.
func (lu *LogicalUnit) revoke(affected func(*Command) bool) (hanging []string) {
	return lu.abortAll(nil, true, affected, nil)
}
