// Package peer knows the programs of others that stand at the far end of the end to end tests: libiscsi's
// test suite, QEMU's block layer, the QEMU guest that runs the Linux initiator, and what builds them.
//
// A test says which programs it needs with [Need] and is skipped, with the reason, on a machine that lacks one.
// What may be installed is decided in one place, by [Install]: `make test` calls it before the first stage,
// a test never does.
package peer
