package admin

import (
	"context"
	"net/http"
	"net/url"

	"github.com/isantarget/isantarget/provision"
)

func (s *Server) recover(r *http.Request) (any, error) {
	var want provision.Recovery
	if err := decode(r, &want); err != nil {
		return nil, err
	}
	return done{}, s.daemon.Recover(r.Context(), r.PathValue("lun"), want)
}

// Recover opens the store of a LUN anew with what the operator allows.
func (c *Client) Recover(ctx context.Context, lun string, allowed provision.Recovery) error {
	return c.do(ctx, http.MethodPost, "/luns/"+url.PathEscape(lun)+"/recover", allowed, nil)
}
