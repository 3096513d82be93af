// Package guess remembers who has answered wrongly of late, so that guessing secrets is
// slow: those of CHAP, and the tokens of the admin plane.
package guess
