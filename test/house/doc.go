// Package house holds the tree to the rules it is built by: who may import whom, no state in package variables, no
// work in init functions, documentation on every exported name, and no package named for nothing in particular.
//
// It has tests only. They read what `go list` says of the module and the type-checked syntax of its packages, so that
// a rule is a fact about the code and not a habit.
package house
