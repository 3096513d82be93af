// Package hostile attacks a daemon that runs in the test's own process, so that its memory
// and its goroutines can be counted: half-open logins, peers that speak by the byte, that
// send garbage, owe data, take none, or flood. Each attack stands while another initiator
// goes on reading and writing, and checks what it reads. Memory stays within the limits of
// the configuration, and when all are gone no goroutine is left.
package hostile
