// Package daemon runs isantarget as its users do, as a process of its own, and holds it to what a user relies on:
// it says when it accepts logins, it ends with status 0 when asked to, and it never prints a panic or a data race.
//
// [Main] builds the binary once for a test package. [Start] runs `isantarget serve`, waits for the ready file and
// gives back a [Daemon], which can be killed and started again on the same address. When the test ends the daemon
// is stopped with SIGTERM; an exit status other than 0, a data race or a panic on its standard error fails the test.
package daemon
