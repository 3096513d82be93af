package admin

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
)

// A pageFile is a file of the web page.
type pageFile struct {
	kind string // its media type
	etag string
	body []byte
}

// readPage reads the files of a page, by their paths at the server: index.html is at "/".
// It is for files that are part of the program, so it panics where one cannot be read.
func readPage(page fs.FS) map[string]pageFile {
	files := map[string]pageFile{}
	if page == nil {
		return files
	}
	err := fs.WalkDir(page, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := fs.ReadFile(page, name)
		sum := sha256.Sum256(body)
		kind := mime.TypeByExtension(path.Ext(name))
		if kind == "" {
			kind = "application/octet-stream"
		}
		files["/"+strings.TrimSuffix(name, "index.html")] = pageFile{kind, `"` + hex.EncodeToString(sum[:12]) + `"`, body}
		return err
	})
	if err != nil {
		panic(fmt.Sprintf("admin: the web page: %v", err))
	}
	return files
}

// servePage answers with a file of the page, if one is asked for. Anybody may have them:
// they tell nothing of the daemon.
func (s *Server) servePage(w http.ResponseWriter, r *http.Request) bool {
	f, ok := s.page[r.URL.Path]
	if !ok || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(pageBound))
	w.Header().Set("Content-Type", f.kind)
	w.Header().Set("ETag", f.etag)
	w.Header().Set("Cache-Control", "no-cache") // kept, but asked for again
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.body))
	return true
}

// protect says to browsers what they may do with an answer: nothing but what the page needs.
func protect(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "+
		"frame-ancestors 'none'; base-uri 'none'; form-action 'self'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}
