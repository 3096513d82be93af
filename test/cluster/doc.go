// Package cluster proves what a cluster asks of a shared disk, with the programs that clusters run: two QEMU guests
// (package guest) are its nodes, with the kernel's own initiator, sg3-utils, multipath-tools, fence-agents and
// ocfs2-tools of Debian.
//
// Effects are judged on the host: what a node was refused must not be in the image, what it was promised must be.
package cluster
