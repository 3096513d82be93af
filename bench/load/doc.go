// Package load is a closed-loop iSCSI load generator: so many commands are in flight on each connection, and each one
// that ends is replaced at once. It is its own initiator, as small as that can be, so that it is not the limit of what
// it measures: one thread serves all connections, PDUs go out and come in in batches, every header and buffer is made
// before the clock starts, and nothing is allocated while it runs. Its own CPU is part of every result, all the same.
//
// One connection is served by a blocking recv(2), the least a kernel can be asked for; several by epoll(7). The data of
// a read is received but looked at only to check a digest or to verify it.
//
// Latency runs from queueing a command to the end of the recv that brought its status.
package load
