// Package isns has a daemon register its targets with Debian's iSNS server (open-isns), and
// looks with its isnsadm at what initiators would find there: after changes, when either of
// the two was killed, when the entry was taken out by others, and when the daemon has stopped.
package isns
