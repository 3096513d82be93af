// Package fiemap asks a file system where the blocks of a file are (FS_IOC_FIEMAP).
package fiemap
