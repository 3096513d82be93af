// Package bare is a server that does the system calls of an iSCSI target and next to nothing else: what it reaches is
// the limit of the machine, the kernel and the Go runtime for a server of that shape.
//
// It accepts any login, answers READ (10), WRITE (10), READ CAPACITY (10) and TEST UNIT READY on one image, and calls
// every other command good. It checks nothing: no CmdSN, no range, no task attribute; there is no task management and no
// second LUN; a write must bring its data unasked. Never serve data with it.
//
// Its shape is that of isantarget's hot path: one goroutine for a connection, which reads many PDUs with one read(2),
// runs each with a preadv2(2) that must not block or a pwrite(2), and answers the batch with one writev(2). Reads of
// 64 KiB and more leave by sendfile(2).
package bare
