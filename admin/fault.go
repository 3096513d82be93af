package admin

import (
	"context"
	"net/http"
	"net/url"

	"github.com/isantarget/isantarget/provision"
)

// faultWords is the body of a request for faults.
type faultWords struct {
	Faults []string `json:"faults"` // in the words of the configuration
}

func (s *Server) faults(r *http.Request) (any, error) { return s.daemon.Faults(r.PathValue("lun")) }

func (s *Server) setFaults(r *http.Request) (any, error) {
	var want faultWords
	if err := decode(r, &want); err != nil {
		return nil, err
	}
	return done{}, s.daemon.SetFaults(r.PathValue("lun"), want.Faults)
}

func faultsPath(lun string) string { return "/luns/" + url.PathEscape(lun) + "/faults" }

// Faults lists the faults in force in a LUN.
func (c *Client) Faults(ctx context.Context, lun string) (list []provision.FaultStatus, err error) {
	err = c.do(ctx, http.MethodGet, faultsPath(lun), nil, &list)
	return list, err
}

// SetFaults replaces the faults in force in a LUN; none: it is sound.
func (c *Client) SetFaults(ctx context.Context, lun string, words []string) error {
	return c.do(ctx, http.MethodPut, faultsPath(lun), faultWords{append([]string{}, words...)}, nil)
}
