// Package storetest is the one suite that every store and every layer must pass.
//
// A store promises much that no command notices at once: that UNMAP gives space
// back, that two writers side by side leave each other alone, that a synced byte
// is there tomorrow. The checks here look for the effect of each promise: they
// write, do what is to be tested, and read back content and extents.
//
// [Run] is the suite for a test of a store. The checks themselves do not know
// package testing and return what they found, so that the suite can be tested
// too: this package's own test hands them stores that lie, one lie at a time,
// and fails when a lie is believed.
package storetest
