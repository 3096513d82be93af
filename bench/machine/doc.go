// Package machine reads what a measurement needs to know of the host it runs on: how much CPU a process and everybody
// else used (/proc/PID/stat and /proc/stat, in clock ticks, see proc(5)), how much memory a process holds, what the
// machine is, and whether a file lies in the page cache.
//
// A benchmark on a shared machine is only worth what is known of the others at the time: every measured window comes
// with the CPU that neither the load generator nor the target used.
package machine
