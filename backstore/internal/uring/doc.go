// Package uring reads many pieces of a file by one system call: io_uring(7), and of it only what that needs.
//
// A read out of the page cache takes less time than the way into the kernel and back, most of all on a virtual
// machine. A Ring takes the reads of a whole batch there at once. None of them waits (RWF_NOWAIT): they have all ended
// when the call returns, so nothing of this is asynchronous, and no buffer is the kernel's any longer than the call.
//
// Where io_uring is not to be had (an old kernel, kernel.io_uring_disabled, the system call filter of a container) New
// says so, and its caller reads one by one.
package uring
