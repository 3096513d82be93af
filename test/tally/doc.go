// Command tally runs the project's checks and tests in stages, prints what was skipped with the reason and what failed
// in full, and ends with the line
//
//	N passed, N failed, N skipped
//
// and exit status 0 only if something passed and nothing failed. `make test` runs all stages, in the order of `tally -h`;
// its other targets run one.
//
// What counts is a leaf: a check, a fuzz target, a test without subtests. A test with subtests counts only when it fails
// by itself. A package that does not build, panics, exits early or runs out of time counts as one failure, and so does
// each of its tests that began and did not end.
package main
