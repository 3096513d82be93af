// Package memory keeps a medium in the memory of this process: a thin store
// whose space is taken by the first write and given back by UNMAP.
//
// It is for tests, for scratch disks, and for measuring everything above the
// store. It holds nothing over Close. The most it takes is its size: whoever
// configures one larger than the machine's memory has over-promised it.
package memory
