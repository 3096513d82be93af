package scsi

// A LogicalUnit is a device server with what SAM-5 puts around it: a task set
// and its manager, unit attentions per I_T nexus, reservations, mode pages and
// an identity.
type LogicalUnit struct {
	Identity Identity
	Device   DeviceServer
	// Report, if set, hears of what no initiator is told: a panic in an
	// operation, commands that hang. It must not wait. Set before use.
	Report func(error)
}

// NewLogicalUnit makes a logical unit of ds. keeper keeps what must outlive the
// process (saved mode pages); what it holds for id is loaded. Without a keeper
// (nil) nothing can be saved.
func NewLogicalUnit(id Identity, ds DeviceServer, keeper Keeper) (*LogicalUnit, error) {
	return &LogicalUnit{Identity: id, Device: ds}, id.validate()
}

// Execute is SCSI Command Received (SAM-5 5.4.2): c enters the task set. It does
// not wait: what can be answered without blocking is answered before it returns,
// everything else on a goroutine of its own. Calls of one nexus come in CmdSN order.
func (lu *LogicalUnit) Execute(c *Command) {}

// Manage runs a task management function for nexus n (SAM-5 7); tag is the command's
// for ABORT TASK and QUERY TASK. When it returns FunctionComplete no affected command
// can act any more. It waits at most bound for commands that hang in a store: then it
// returns FunctionRejected and the unit is not ready until they end.
func (lu *LogicalUnit) Manage(f Function, n *Nexus, tag Tag) Response { return FunctionRejected }

// Attach makes n known to the unit (at login): a nexus that was not known has the unit
// attention POWER ON OCCURRED (29/01), one that was lost I_T NEXUS LOSS OCCURRED (29/07).
func (lu *LogicalUnit) Attach(n *Nexus) {}

// NexusLost is the I_T nexus loss event (SAM-5 6.3.4): the nexus's commands are aborted,
// its RESERVE is released. It waits as Manage does.
func (lu *LogicalUnit) NexusLost(n *Nexus) {}

// Forget drops all that the unit keeps for n and could keep for ever: called when the
// port's table of nexuses is full. It refuses (false) while n holds something of worth.
func (lu *LogicalUnit) Forget(n *Nexus) bool { return false }

// Attention establishes a unit attention for n, or for every attached nexus but except
// when n is nil (SAM-5 5.14).
func (lu *LogicalUnit) Attention(code SenseCode, n, except *Nexus) {}
