// Package doctor runs package doctor against real targets: a daemon of ours, which passes
// every check and is left as it was, and tgt and istgt, whose known failures it finds.
package doctor
