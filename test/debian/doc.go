// Package debian installs the Debian package on a machine with systemd, uses it, brings it up to date, removes and purges
// it. The machine is a container whose root is this one's, seen through an overlay that is thrown away.
package debian
