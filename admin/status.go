package admin

import (
	"context"
	"net/http"

	"github.com/isantarget/isantarget/job"
	"github.com/isantarget/isantarget/provision"
)

// A Status is all that runs, at one glance.
type Status struct {
	Version  string                    `json:"version"` // of the daemon
	Targets  []provision.TargetStatus  `json:"targets"`
	LUNs     []provision.LUNStatus     `json:"luns"`
	Stores   []provision.StoreStatus   `json:"stores"`
	Sessions []provision.SessionStatus `json:"sessions"`
	Jobs     []job.Status              `json:"jobs"`
	Warnings []string                  `json:"warnings"`       // of the configuration
	ISNS     *provision.ISNSStatus     `json:"isns,omitempty"` // nil: no iSNS server is configured
}

func (s *Server) status(*http.Request) (any, error) {
	out := Status{Version: s.daemon.Version(), Warnings: append([]string{}, s.daemon.Warnings()...), Jobs: s.daemon.Jobs(), ISNS: s.daemon.ISNS()}
	var err error
	if out.Targets, err = s.daemon.Targets(); err != nil {
		return nil, err
	}
	if out.LUNs, err = s.daemon.LUNs(); err != nil {
		return nil, err
	}
	if out.Stores, err = s.daemon.Stores(); err != nil {
		return nil, err
	}
	out.Sessions, err = s.daemon.Sessions()
	return out, err
}

// Load is what has been done.
func (c *Client) Load(ctx context.Context) (l provision.LoadStatus, err error) {
	err = c.do(ctx, http.MethodGet, "/load", nil, &l)
	return l, err
}

// Status is all that runs.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	err = c.do(ctx, http.MethodGet, "/status", nil, &s)
	return s, err
}
