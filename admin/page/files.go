package page

import (
	"embed"
	"io/fs"
)

//go:embed static
var static embed.FS

// Files are those of the page, by their paths at the server: index.html is the page, and
// everything else lies in the folder page. They tell nothing of the daemon, so that anybody
// may have them.
func Files() fs.FS {
	files, err := fs.Sub(static, "static")
	if err != nil {
		panic(err) // the name is a valid one
	}
	return files
}
