// Package state keeps the small records that have to outlive the daemon: the
// serial that a LUN was given, and what its logical unit saves (SPC-4: saved
// mode pages, 7.5.3; persistent reservations through a power loss, 5.13.5).
//
// A record is a file below one directory:
//
//	STATE/lock                       who uses the directory now
//	STATE/serial/<LUN name>          the unit serial number, made once
//	STATE/target-ports.json          the relative target port identifiers, each given once
//	STATE/config.d/<kind>-<name>.toml   objects of the configuration made at run time, one a file
//	STATE/reserve/                   space that is kept for all of these when there is no other
//	STATE/lu/<SCSI name>/<kind>.json what the logical unit of that identity saves
//
// Records of a logical unit lie under the identity that initiators know, not
// under the LUN's name: a LUN that is renamed or moved keeps them.
//
// A record is replaced whole: written to a temporary file beside it, flushed,
// renamed over the old one, and the directory flushed. When that has returned,
// the new record survives power loss; when it fails, at whatever step, the old
// one is what a later start reads. Files are 0600 and directories 0700.
package state
