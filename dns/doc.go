// Package dns keeps the addresses of hosts that access rules name. Names are only ever looked
// up forward (A and AAAA, RFC 1035 3.4.1 and RFC 3596 2.1): what somebody's PTR record claims
// of an address is never asked for, so it admits nobody.
//
// A [Host] is read without a lock. Its addresses are looked up in the background, again and
// again, by the [Cache] that watches it. DNS must not be able to take disks away by being
// broken: an address goes after two good lookups without it, and a lookup that fails changes
// nothing. What was known stays good for an hour; from then on nobody new is let in by it.
package dns
