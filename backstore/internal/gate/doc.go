// Package gate lets a store close while it is used.
//
// A descriptor number may name another file as soon as it is closed, so a store
// must not close it beside a call that uses it. A lock would do, but a read lock
// held over I/O is what this project does not do; a gate counts.
package gate
