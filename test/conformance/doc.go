// Package conformance runs Debian's iscsi-test-cu (libiscsi's test suite, 230 tests of SPC, SBC and RFC 7143) against
// isantarget and says honestly what became of every test.
//
// CUnit counts a test that skipped itself as passed. Here a test has passed only when it made assertions, all held, and
// it said nothing of a skip. Three things tell: what it prints; a shim under the tool that shows each CU_PASS and each
// first assertion (shim/cu_pass.c); and, for a test that passed without one assertion, a second run with -V. A test in
// which the tool or the target dies is failed, one that gives no result while the target answers hangs, and either way
// the rest of its suite is run test by test, so that each has a result of its own.
//
// No single logical unit can run every test, so the suite runs in several [Shape]s. A test of the suite passes when it
// passes in at least one shape and fails in none. Two tables say what else may be: [TestBugs], where the suite is wrong,
// and [Skips], what rightly skips itself. Whatever else does not pass, fails here; so
// does an entry of a table that is no longer true.
package conformance
