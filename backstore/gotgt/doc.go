// Package gotgt serves a store that was written for gotgt
// (github.com/gostor/gotgt): an api.BackingStore, which is one of its plugins, or
// an api.RemoteBackingStore, which is what a program that embeds gotgt hands to it.
//
// Nothing but these interfaces is used, and for OpenNamed the registry of plugins.
// What they leave open is settled here:
//
//   - A plugin is told of a logical unit (api.SCSILu) that exists only for it. It
//     gets Init and Open, at the end Close and Exit, as in the C program that
//     gotgt descends from. (gotgt itself calls Open only.)
//   - Offsets and lengths are bytes, also in an api.UnmapBlockDescriptor.
//   - gotgt gives a store one command of a connection after the other. So do we,
//     one of all, unless Options.Concurrent says that the store can do more.
//   - A short read or write is an error. (gotgt fills up with zeros.)
//   - Every plugin must have Unmap; gotgt's own "file" answers it with success and
//     does nothing. So a capability is believed only if Options.Trust names it.
//   - A plugin returns what it read in memory of its own: a read through an
//     api.BackingStore allocates, and copies once more.
package gotgt
