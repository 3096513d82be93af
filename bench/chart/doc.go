// Package chart draws the rates of a benchmark as bars, in multiples of one target's: what is twice as long is twice as
// fast, and cases of thousands and of hundreds of thousands of commands a second fit into one picture.
package chart
