// Package variation makes configurations at random, of which any may follow any other:
// portal groups, LUNs, targets, maps and rules on both sides, in the configuration file and
// made at run time. All of them leave alone what a test works with: one target, whose rules
// in the file have LUNs of their own.
package variation
