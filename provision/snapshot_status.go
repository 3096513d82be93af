package provision

import (
	"time"

	"github.com/isantarget/isantarget/backstore/snapshot"
)

// A SnapshotStatus is a snapshot of a LUN.
type SnapshotStatus struct {
	LUN    string    `json:"lun"`
	Name   string    `json:"name"`
	Taken  time.Time `json:"taken"`
	Size   int64     `json:"size"`   // bytes that the LUN had
	Own    int64     `json:"own"`    // bytes that only this snapshot's file takes
	Shared int64     `json:"shared"` // bytes of its file that other files have as well
	// Estimated: what it shares is not counted to the end, and the rest is taken to be shared.
	Estimated bool   `json:"estimated"`
	File      string `json:"file"`
	// Overlay: the file holds only what was written since the snapshot before, and is
	// worth nothing without it.
	Overlay  bool `json:"overlay"`
	Deleting bool `json:"deleting"` // what it held is gone; see the jobs
}

func snapshotStatus(lun string, s snapshot.Snapshot, held shares) SnapshotStatus {
	shared := min(held.shared, s.Allocated)
	return SnapshotStatus{
		LUN: lun, Name: s.Name, Taken: s.Taken, Size: s.Size, Own: s.Allocated - shared, Shared: shared,
		Estimated: held.estimated, File: s.File, Overlay: s.Overlay, Deleting: s.Deleting,
	}
}

// SnapshotsTaken are snapshots of one point in time.
type SnapshotsTaken struct {
	Name     string   `json:"name"`
	LUNs     []string `json:"luns"`
	Warnings []string `json:"warnings"`
}

// A CloneStatus is an image that was made of a snapshot.
type CloneStatus struct {
	Path string         `json:"path"`
	Size int64          `json:"size"` // bytes
	LUN  map[string]any `json:"lun"`  // settings for a LUN of it, with the keys of the configuration
	// Below is the snapshot that has to stay as long as the clone; empty: none.
	Below    string   `json:"below"`
	Warnings []string `json:"warnings"`
}
