// Package isns registers iSCSI targets with an iSNS server (RFC 4171), which initiators ask
// where targets are, instead of being told addresses.
//
// A server keeps objects below a Network Entity: Portals (address and TCP port), Storage Nodes
// (iSCSI names), and for each pair of the two a Portal Group with the target portal group tag
// under which the node is reached there, or NULL if it is not. The messages are attributes in
// TLV format behind a status, over TCP: [Message] and [Attribute].
//
// A [Client] keeps a [Registration] at one server, on a goroutine of its own. It never decides
// who may log in, and nothing waits for it: a server that is away, hangs, lies or floods costs
// a bounded amount of memory and a connection now and then.
//
// What it does upon what it hears:
//
//   - The server's answer to a registration says after how long it forgets who is silent. The
//     client asks for its own entry three times in that time (RFC 4171 6.2.6), and registers
//     anew what is not there.
//   - Entity Status Inquiry: answered, for the portals that were asked about.
//   - State Change Notification about one of our own nodes: what we have registered is looked
//     at at once, and what has gone is registered again.
//   - State Change Notification about initiators that share a Discovery Domain with a target of
//     ours: told to whoever listens ([Event]). Nothing else follows from it.
//   - The connection ends: the server may have been started anew, so the same as above.
package isns
