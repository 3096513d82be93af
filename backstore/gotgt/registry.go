package gotgt

import (
	"fmt"

	"github.com/gostor/gotgt/pkg/scsi"
	_ "github.com/gostor/gotgt/pkg/scsi/backingstore" // registers "file" and "null"
)

// OpenNamed initialises and opens the plugin that is registered with gotgt under
// name: "file" and "null" are gotgt's own; a program that links another one in
// has it here too. gotgt's registry is all that is used of its engine.
func OpenNamed(name string, o Options) (*Store, error) {
	plugin, err := scsi.NewBackingStore(name)
	if err != nil || plugin == nil {
		return nil, fmt.Errorf("gotgt store: this binary has no plugin %q", name)
	}
	return Open(plugin, o)
}
