// Package compareandwrite holds COMPARE AND WRITE (SBC-3 5.2) of a running
// daemon to the one thing that clusters build upon: that it is one step.
// VMware's locks (ATS) and every lock-free counter on a shared disk are lost
// where two hosts succeed from the same old block, or where a host sees half of
// what another wrote.
//
// Several initiators, through two target ports, raise a counter that stands in
// each of several blocks, by READ and COMPARE AND WRITE, as fast as they can.
// Others use the blocks beside it, and RESERVE the whole unit in between. At the
// end the counter is exactly the number of successes; and no READ has seen
// blocks of two counts.
package compareandwrite
