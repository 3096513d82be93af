package state

import (
	"crypto/rand"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

// entityIdentifier is what EntityIdentifier makes.
var entityIdentifier = regexp.MustCompile(`^isantarget-[0-9a-z]{26}$`)

// EntityIdentifier is the name of this daemon as a Network Entity of an iSNS server (RFC 4171
// 6.2.1): made at the first call, and the same ever after, so that a daemon that was killed
// takes the place of what it has left there. It returns when the name is durable.
func (d *Directory) EntityIdentifier() (string, error) {
	d.making.Lock()
	defer d.making.Unlock()
	file := filepath.Join(d.path, "isns-entity")
	record, err := read(file)
	if err != nil {
		return "", err
	}
	if name := strings.TrimSpace(string(record)); entityIdentifier.MatchString(name) {
		return name, nil
	}
	if record != nil {
		return "", fmt.Errorf("state: %s is damaged: remove it, and the iSNS server is told another name", file)
	}
	name := "isantarget-" + strings.ToLower(rand.Text())
	if err := d.replace(file, []byte(name+"\n")); err != nil {
		return "", err
	}
	return name, nil
}
