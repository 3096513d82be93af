// Package thirdparty holds a running daemon to what hosts ask it to do with
// blocks by itself: EXTENDED COPY (SPC-4 6.4), ROD tokens (SBC-3 4.29) and
// SANITIZE (SBC-3 4.11), over iSCSI and judged by what is in the images.
//
// It asks what no single logical unit can answer: that a host which is fenced
// from one unit cannot write to it by a copy that it began at another, and that
// a sanitize operation goes on after the daemon was killed.
package thirdparty
