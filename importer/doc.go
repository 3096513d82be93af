// Package importer reads the configurations of other iSCSI targets and makes the
// equal one of ours: targetcli's saveconfig.json, tgt's targets.conf and what tgtadm
// shows, istgt's istgt.conf, gotgt's config.json, FreeBSD's ctl.conf and SCST's
// scst.conf.
//
// Each of them is first read into a tree of entries that know their line. What is
// carried over is marked; what is left at the end is told, entry by entry. So nothing
// is dropped in silence, also of settings that this package has never heard of.
//
// A disk keeps the names that initiators know it by. Where a target makes them of
// something else (a path, a number, a name), the same is made here, byte by byte; where
// they cannot be known from the configuration, it is told how to find them out.
//
// The package opens no file: text comes in, a configuration, remarks and secrets go out.
package importer
