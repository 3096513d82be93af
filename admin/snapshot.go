package admin

import (
	"context"
	"net/http"
)

// A takeRequest is the body of a request to take snapshots of LUNs at one point in time.
type takeRequest struct {
	LUNs []string `json:"luns"`
	Name string   `json:"name"` // empty: the time
}

// A rollbackRequest is the body of a request to roll a LUN back.
type rollbackRequest struct {
	Snapshot string `json:"snapshot"`
	Force    bool   `json:"force"` // although initiators are logged in
}

// A cloneRequest is the body of a request to clone a LUN.
type cloneRequest struct {
	Snapshot string `json:"snapshot"` // empty: what the LUN holds now
	Name     string `json:"name"`     // of the LUN that is to be
	Path     string `json:"path"`     // of its image; empty: beside that of the LUN
}

func (s *Server) snapshot(r *http.Request) (any, error) {
	return s.daemon.Snapshot(r.PathValue("lun"), r.PathValue("snapshot"))
}

func (s *Server) takeSnapshots(r *http.Request) (any, error) {
	var want takeRequest
	if err := decode(r, &want); err != nil {
		return nil, err
	}
	return s.daemon.TakeSnapshots(context.WithoutCancel(r.Context()), want.LUNs, want.Name)
}

func (s *Server) deleteSnapshot(r *http.Request) (any, error) {
	return s.daemon.DeleteSnapshot(r.PathValue("lun"), r.PathValue("snapshot"))
}

func (s *Server) rollback(r *http.Request) (any, error) {
	var want rollbackRequest
	if err := decode(r, &want); err != nil {
		return nil, err
	}
	return done{}, s.daemon.Rollback(context.WithoutCancel(r.Context()), r.PathValue("lun"), want.Snapshot, want.Force)
}

func (s *Server) clone(r *http.Request) (any, error) {
	var want cloneRequest
	if err := decode(r, &want); err != nil {
		return nil, err
	}
	return s.daemon.Clone(context.WithoutCancel(r.Context()), r.PathValue("lun"), want.Snapshot, want.Name, want.Path)
}
