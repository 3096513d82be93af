// Package live changes a daemon while initiators work with it: LUNs, targets and
// rules come and go, sessions are logged out, reservations cleared, by the same
// command line and socket that an operator has. What nobody has changed must not
// notice: its sessions live on, no command of theirs fails or hears of anything, and
// every byte is where it was written.
package live
