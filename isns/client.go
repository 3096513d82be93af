package isns

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"time"
)

// Options are what NewClient needs.
type Options struct {
	Server string        // host:port, the host being a name or an address
	Period time.Duration // after which the server may forget us if it hears nothing; whole seconds. 0: ten minutes
	Port   uint16        // where the server sends its inquiries and notices, at each portal's address; 0: a free one

	// Inquiry is how often the server may ask whether a portal is there (ESI). 0: never; a
	// portal that the server cannot reach at Port is taken out by it then.
	Inquiry time.Duration

	// Tell is called with what happens, perhaps from several goroutines. It must not wait. nil:
	// nobody is told.
	Tell func(Event)
}

// An Event is something that an operator should know of.
type Event struct {
	Urgent bool // else all is well (again)
	Text   string
}

// A State is how a client stands with its server.
type State string

// The states.
const (
	Connecting State = "connecting" // nothing is known yet
	Registered State = "registered"
	Away       State = "away" // the server does not answer, or not sensibly
	Idle       State = "idle" // there is nothing to register
)

// A ServerStatus is how a client stands with its server.
type ServerStatus struct {
	State   State
	Since   time.Time
	Problem string           // why it is away, or has not registered all; empty: it is not
	Portals []netip.AddrPort // that are registered
	Nodes   []string         // likewise
	Period  time.Duration    // after which the server forgets who is silent; 0: never, or it has not said
	Inquiry bool             // the server has asked for ESI lately
	Heard   uint64           // inquiries and notices since the start
}

// A pace is how long things may take.
type pace struct {
	dial, exchange time.Duration // until a connection, and until an answer, is given up
	withdraw       time.Duration // for all of a withdrawal
	first, last    time.Duration // pauses after failures, doubled from the first to the last
	settled        time.Duration // a connection that lasts so long was no failure
	quiet          time.Duration // between two looks that notices ask for
}

// usual is the pace but in tests.
func usual() pace {
	return pace{dial: 5 * time.Second, exchange: 10 * time.Second, withdraw: 3 * time.Second, first: time.Second, last: time.Minute, settled: 30 * time.Second, quiet: 5 * time.Second}
}

const defaultPeriod = 10 * time.Minute

// A Client keeps a registration at an iSNS server, until it is closed.
type Client struct {
	options Options
	pace    pace

	stopping  context.Context
	stop      context.CancelFunc
	done      chan struct{}
	changed   chan struct{} // want is another one
	noticed   chan struct{} // the server says that something of ours has changed
	listeners listeners

	mu     sync.Mutex
	want   Registration
	ours   map[string]struct{} // names of nodes that were wanted once
	used   map[string]struct{} // those of them that notices have come for
	status ServerStatus

	// Of run alone.
	known    *database // what the server has of us; nil: nobody knows
	tried    bool      // the server may have something of us, under
	entity   string    // this identifier,
	spoke    string    // and this is the node in whose name it was said last
	asked    time.Time // when it was last asked to register something
	looked   time.Time // when the registration was right, as far as we know
	replaced bool      // what an earlier process has left is gone
	shown    bool      // the server shows us what it has of us
	noESI    bool      // it has none, or cannot reach us for it
	noGroups bool      // it knows no explicit portal groups
	unheard  error     // why we hear nothing at some portal

	subscribed map[string]struct{} // nodes for which notices come
	told       string              // the last thing that is wrong, if it has been told
}

// NewClient makes a client that registers nothing yet. It is to be closed.
func NewClient(o Options) *Client { return newClient(o, usual()) }

func newClient(o Options, p pace) *Client {
	if o.Period < time.Second {
		o.Period = defaultPeriod
	}
	if o.Tell == nil {
		o.Tell = func(Event) {}
	}
	c := &Client{
		options: o, pace: p, done: make(chan struct{}), changed: make(chan struct{}, 1), noticed: make(chan struct{}, 1),
		status: ServerStatus{State: Idle, Since: time.Now()}, subscribed: map[string]struct{}{},
	}
	c.stopping, c.stop = context.WithCancel(context.Background())
	c.listeners.open(c)
	go c.run()
	return c
}

// Register has the client register r, and nothing else, from now on. It returns at once.
func (c *Client) Register(r Registration) {
	c.mu.Lock()
	same := reflect.DeepEqual(c.want, r)
	c.want = r
	if len(c.ours) > 4096 {
		c.ours = nil
	}
	if c.ours == nil {
		c.ours, c.used = map[string]struct{}{}, map[string]struct{}{}
	}
	for _, n := range r.Nodes {
		c.ours[n.Name] = struct{}{}
	}
	c.mu.Unlock()
	if !same {
		signal(c.changed)
	}
}

// signal makes ch ready, if it is not.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Close withdraws what is registered and ends the client. However the server behaves it
// returns within a few seconds; what could not be withdrawn the server forgets in time.
func (c *Client) Close() {
	c.stop()
	<-c.done
}

// Status is how the client stands with its server just now.
func (c *Client) Status() ServerStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.status
	s.Portals, s.Nodes = slices.Clone(s.Portals), slices.Clone(s.Nodes)
	s.Heard, s.Inquiry = c.listeners.heard.Load(), c.listeners.inquired.Load() > 0
	return s
}

// set notes how the client stands.
func (c *Client) set(state State, problem string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &c.status
	if s.State != state {
		s.State, s.Since = state, time.Now()
	}
	s.Problem = problem
	s.Portals, s.Nodes = nil, nil
	if state == Registered {
		s.Portals, s.Nodes = c.known.sortedPortals(), c.known.sortedNodes()
	} else {
		s.Period = 0
	}
}

func (c *Client) run() {
	defer close(c.done)
	defer c.listeners.close()
	for pause := time.Duration(0); ; {
		if !c.awaitWork(pause) {
			break
		}
		begun := time.Now()
		err := c.visit()
		if c.stopping.Err() != nil {
			break
		}
		if err == nil { // nothing is left to be registered
			pause = 0
			continue
		}
		if time.Since(begun) >= c.pace.settled {
			pause = 0
		}
		if pause = min(max(2*pause, c.pace.first), c.pace.last); pause > c.pace.first {
			pause -= rand.N(pause / 4) // so that not all come back at once
		}
	}
	c.withdraw()
}

// awaitWork waits for a pause to end, and for something to register; false: the client is closed.
func (c *Client) awaitWork(pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-c.stopping.Done():
		return false
	case <-timer.C:
	}
	for {
		if c.wants() || c.tried {
			return true
		}
		c.set(Idle, "")
		select {
		case <-c.stopping.Done():
			return false
		case <-c.changed:
		}
	}
}

// failed notes that the server is away, and tells of it once.
func (c *Client) failed(err error) {
	if c.stopping.Err() != nil {
		return
	}
	c.set(Away, err.Error())
	if c.told == "" {
		c.told = err.Error()
		c.options.Tell(Event{Urgent: true, Text: fmt.Sprintf(
			"the iSNS server %s does not have our registration: %v; initiators that know us go on, those that ask it may not find us; it is tried again", c.options.Server, err)})
	}
}

// visit connects, registers, and keeps the registration until the connection fails, which is
// the error, or nothing is wanted any more.
func (c *Client) visit() error {
	if c.Status().State == Idle {
		c.set(Connecting, "")
	}
	conn, err := c.dial(c.stopping, c.pace.dial, c.pace.exchange)
	if err == nil {
		defer conn.close()
		err = c.settle(conn)
	}
	if err != nil {
		c.failed(err)
		return err
	}
	for next := c.nextLook(); c.wants(); {
		timer := time.NewTimer(time.Until(next))
		select {
		case <-c.stopping.Done():
			return c.stopping.Err()
		case m, ok := <-conn.incoming:
			timer.Stop()
			if err := conn.unasked(m, ok); err != nil {
				return err // whether it is away shows when we come back
			}
			continue
		case <-c.noticed:
			timer.Stop()
			if soon := c.looked.Add(c.pace.quiet); soon.Before(next) { // not more often, whatever it says
				next = soon
			}
			continue
		case <-c.changed:
		case <-timer.C:
		}
		timer.Stop()
		if err := c.settle(conn); err != nil {
			c.failed(err)
			return err
		}
		next = c.nextLook()
	}
	return nil
}

// wants tells whether there is anything to register.
func (c *Client) wants() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.want.Nodes) > 0
}

// nextLook is when we look again whether the server still knows us: it forgets who is silent.
func (c *Client) nextLook() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looked = time.Now()
	period := c.status.Period
	if period <= 0 || period > c.options.Period {
		period = c.options.Period
	}
	return c.looked.Add(max(period/3, 500*time.Millisecond))
}

// settle makes the server have what is wanted: all of it if it knows nothing of us, else what
// it lacks; and takes out what is not wanted any more.
func (c *Client) settle(conn *connection) error {
	want, err := c.objects(conn)
	if err != nil {
		return err
	}
	if want.empty() {
		return c.settleNothing(conn)
	}
	if err := c.unsubscribe(conn, c.takeUsed()); err != nil {
		return err
	}
	if err := c.subscribe(conn); err != nil { // at once, for meanwhile we would hear of nothing
		return err
	}
	if err := c.look(conn); err != nil {
		return err
	}
	c.unheard = c.listeners.listen(want.sortedPortals(), c.options.Port)
	gone := c.known.absent(want)
	more := want.without(c.known)
	if !c.known.empty() && !c.shown {
		more = want // it does not show us what it has, so we say it again
	}
	if !more.none() || len(gone) > 0 {
		if err := c.unsubscribe(conn, maps.Clone(c.subscribed)); err != nil {
			return err
		}
	}
	if !more.none() {
		if err := c.register(conn, want, more); err != nil {
			return err
		}
	}
	if len(gone) > 0 {
		if _, err := conn.exchange(DevDereg, 0, request(c.source(want), nil, gone)); err != nil {
			return err
		}
	}
	c.known, c.spoke = want, want.sortedNodes()[0]
	if err := c.subscribe(conn); err != nil {
		return err
	}
	c.set(Registered, c.gaps())
	if c.told != "" {
		c.options.Tell(Event{Text: fmt.Sprintf("the iSNS server %s has our registration again", c.options.Server)})
		c.told = ""
	}
	return nil
}

// takeUsed are the nodes for which notices have come since it was called last.
func (c *Client) takeUsed() map[string]struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	used := c.used
	c.used = map[string]struct{}{}
	return used
}

// unsubscribe has notices for these nodes end; subscribe lets them come again. A subscription
// that was used is made anew before the server is told or asked anything, for open-isns (0.101)
// crashes when it uses one again after our entry has changed: it keeps the connection of the
// last notice, and forgets that it has closed it.
func (c *Client) unsubscribe(conn *connection, nodes map[string]struct{}) error {
	for name := range nodes {
		if _, is := c.subscribed[name]; !is {
			continue
		}
		delete(c.subscribed, name)
		if err := conn.tryExchange(SCNDereg, request(name, []Attribute{Text(NodeName, name)}, nil)); err != nil {
			return err
		}
	}
	return nil
}

// subscribe has notices come for every node.
func (c *Client) subscribe(conn *connection) error {
	if c.known.empty() {
		return nil
	}
	for _, name := range c.known.sortedNodes() {
		if _, is := c.subscribed[name]; is {
			continue
		}
		c.subscribed[name] = struct{}{}
		// Where it is refused no notices come, and we look by ourselves.
		if err := conn.tryExchange(SCNReg, request(name, []Attribute{Text(NodeName, name)}, []Attribute{Number(SCNBitmap, uint32(allChanges))})); err != nil {
			return err
		}
	}
	return nil
}

// settleNothing takes out what is registered: nothing is wanted, or nothing that others could
// make use of.
func (c *Client) settleNothing(conn *connection) error {
	if c.tried {
		if _, err := conn.exchange(DevDereg, 0, c.farewell()); err != nil {
			return err
		}
		c.known, c.tried = nil, false
		clear(c.subscribed)
	}
	why := ""
	if c.wants() {
		why = "every portal is on loopback, where only this host finds it, or this host has no address yet"
	}
	c.set(Idle, why)
	return nil
}

// farewell is the request that takes all of us out.
func (c *Client) farewell() []byte {
	return request(c.spoke, nil, []Attribute{Text(EntityIdentifier, c.entity)})
}

// withdraw takes out what is registered, over a connection of its own: the other one may hang.
func (c *Client) withdraw() {
	if !c.tried {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.pace.withdraw)
	defer cancel()
	conn, err := c.dial(ctx, c.pace.withdraw, c.pace.withdraw)
	if err == nil {
		_, err = conn.exchange(DevDereg, 0, c.farewell())
		conn.close()
	}
	if err != nil {
		c.options.Tell(Event{Urgent: true, Text: fmt.Sprintf("our registration could not be withdrawn from the iSNS server %s: %v; it goes when the registration period is over", c.options.Server, err)})
	}
	c.set(Idle, "")
}

// gaps says what is not as it should be, though we are registered; empty: nothing.
func (c *Client) gaps() string {
	if c.unheard != nil {
		return fmt.Sprintf("no notices can come to us: %v", c.unheard)
	}
	if c.noGroups {
		return "the server knows no portal groups: initiators may be told of portals that do not lead to a target"
	}
	return ""
}

// objects are what is wanted, as objects.
func (c *Client) objects(conn *connection) (*database, error) {
	host, err := hostAddresses()
	if err != nil {
		return nil, fmt.Errorf("the addresses of this host: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.want.objects(conn.local, host), nil
}

// register registers more, which is part of want.
func (c *Client) register(conn *connection, want, more *database) error {
	first := c.known == nil
	esi := !c.noESI && c.options.Inquiry > 0
	for {
		err := c.send(conn, want, more, esi)
		var refusal *RefusalError
		if !errors.As(err, &refusal) {
			if err != nil {
				return err
			}
			break
		}
		switch {
		case refusal.Status == ESINotAvailable && esi:
			c.noESI, esi = true, false
		case refusal.Status == RegistrationFeatureNotSupported && !c.noGroups:
			c.noGroups = true
		default:
			return err
		}
	}
	c.known = c.known.with(more)
	c.listeners.inquired.Store(0)
	c.asked = time.Now()
	if first {
		missing, err := c.missing(conn)
		if err != nil {
			return err
		}
		c.shown = len(missing) == 0
	}
	return nil
}

// send sends registrations of more: the entity and its portals, and then so many nodes with
// their groups as go into one message.
func (c *Client) send(conn *connection, want, more *database, esi bool) error {
	const room = 32 << 10
	key := []Attribute{Text(EntityIdentifier, want.entity)}
	operating := []Attribute{
		key[0], Number(EntityProtocol, ProtocolISCSI), Number(RegistrationPeriod, uint32(c.options.Period/time.Second)),
	}
	for _, p := range more.sortedPortals() {
		operating = append(operating, c.portal(p, esi)...)
	}
	flags := Flags(0)
	if !c.replaced {
		flags = Replace
	}
	flush := func() error {
		c.tried = true
		c.spoke, c.entity = c.source(want), want.entity
		r, err := conn.exchange(DevAttrReg, flags, request(c.spoke, key, operating))
		if err != nil {
			return err
		}
		c.granted(r)
		c.replaced, flags, operating = true, 0, key
		return nil
	}
	nodes, groups := more.sortedNodes(), more.sortedGroups()
	for _, n := range nodes {
		operating = append(slices.Clip(operating), Text(NodeName, n), Number(NodeType, TypeTarget))
		if alias := more.nodes[n]; alias != "" {
			operating = append(operating, Text(NodeAlias, alias))
		} else {
			operating = append(operating, Empty(NodeAlias))
		}
		if len(AppendAttributes(nil, operating...)) > room {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	for _, g := range groups {
		if c.noGroups {
			break
		}
		tag := Empty(GroupTag)
		if t := more.groups[g]; t != 0 {
			tag = Number(GroupTag, uint32(t))
		}
		operating = append(slices.Clip(operating), Text(GroupNode, g.node), Address(GroupAddress, g.portal.Addr()), Number(GroupPort, uint32(g.portal.Port())), tag)
		if len(AppendAttributes(nil, operating...)) > room {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if len(operating) > 1 {
		return flush()
	}
	return nil
}

// portal are the attributes of a portal.
func (c *Client) portal(p netip.AddrPort, esi bool) []Attribute {
	all := []Attribute{Address(PortalAddress, p.Addr()), Number(PortalPort, uint32(p.Port()))}
	port := c.listeners.port(p.Addr())
	if port == 0 {
		return all
	}
	if esi {
		all = append(all, Number(ESIInterval, uint32(max(c.options.Inquiry/time.Second, 1))), Number(ESIPort, uint32(port)))
	}
	return append(all, Number(SCNPort, uint32(port)))
}

// source is the node in whose name we speak: one that the server knows and that stays, if
// there is one.
func (c *Client) source(want *database) string {
	if c.known.empty() {
		return want.sortedNodes()[0]
	}
	known := c.known.sortedNodes()
	for _, n := range known {
		if _, stays := want.nodes[n]; stays {
			return n
		}
	}
	return known[0]
}

// granted notes what the server has made of the registration period.
func (c *Client) granted(r response) {
	for _, a := range r.operating {
		if n, ok := a.Number(); ok && a.Tag == RegistrationPeriod {
			c.mu.Lock()
			c.status.Period = min(time.Duration(n), 1<<31) * time.Second
			c.mu.Unlock()
		}
	}
}

// look takes from what is known what the server has not any more.
func (c *Client) look(conn *connection) error {
	if c.known.empty() || !c.shown {
		return nil
	}
	missing, err := c.missing(conn)
	if err != nil || len(missing) == 0 {
		return err
	}
	// It has had the time to inquire; else it may just have been started anew.
	esi := c.options.Inquiry > 0 && !c.noESI && time.Since(c.asked) > 2*c.options.Inquiry
	if portals := missing.portals(c.known); esi && portals > 0 && c.listeners.inquired.Load() == 0 {
		c.noESI = true
		c.options.Tell(Event{Urgent: true, Text: fmt.Sprintf(
			"the iSNS server %s has taken out %d portals to which it could not connect for its inquiries (ESI): a firewall may be in its way; they are registered again without", c.options.Server, portals)})
	} else {
		c.options.Tell(Event{Text: fmt.Sprintf("the iSNS server %s has lost our registration, or part of it; it is registered again", c.options.Server)})
	}
	for name := range c.subscribed {
		if missing[name] || missing[c.known.entity] {
			delete(c.subscribed, name)
		}
	}
	c.known = c.known.without(nil).lose(missing)
	return nil
}

// missed are the names of objects that are not there: of the entity, nodes, and portals.
type missed map[string]bool

// portals counts the portals of d among them.
func (m missed) portals(d *database) (n int) {
	for p := range d.portals {
		if m[p.String()] {
			n++
		}
	}
	return n
}

// missing asks the server what it has of what is known, each node in its own name: others may
// not be shown to it (RFC 4171 5.6.5.2).
func (c *Client) missing(conn *connection) (missed, error) {
	m := missed{c.known.entity: true}
	for p := range c.known.portals {
		m[p.String()] = true
	}
	nodes := c.known.sortedNodes()
	query := func(source string, key Attribute, wanted ...Attribute) error {
		r, err := conn.exchange(DevAttrQry, 0, request(source, []Attribute{key}, wanted))
		var refusal *RefusalError
		if errors.As(err, &refusal) {
			return nil // it does not know us
		}
		if err != nil {
			return err
		}
		r.strike(m)
		return nil
	}
	err := query(nodes[0], Text(EntityIdentifier, c.known.entity), Empty(EntityIdentifier), Empty(PortalAddress), Empty(PortalPort))
	if err != nil {
		return nil, err
	}
	for _, n := range nodes {
		m[n] = true
		if err := query(n, Text(NodeName, n), Empty(NodeName)); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// strike takes from m what the server has.
func (r *response) strike(m missed) {
	var at netip.Addr
	for _, a := range r.operating {
		name := ""
		switch a.Tag {
		case EntityIdentifier, NodeName:
			name, _ = a.Text()
		case PortalAddress:
			at, _ = a.Address()
		case PortalPort:
			if n, ok := a.Number(); ok && n&portUDP == 0 {
				name = netip.AddrPortFrom(at, uint16(n)).String()
			}
		}
		delete(m, name)
	}
}
