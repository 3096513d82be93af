package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// startGotgt builds gotgt from the module cache and runs it in a network namespace of its own.
func startGotgt(ctx context.Context, p *Peer, o Options) (err error) {
	if os.Geteuid() != 0 {
		return &Missing{"gotgt", "it listens on every address, so it is run in a network namespace of its own, which needs root"}
	}
	if p.Version, err = output(ctx, "go", "list", "-m", "-f", "{{.Version}}", "github.com/gostor/gotgt"); err != nil {
		return err
	}
	binary := filepath.Join(o.Directory, "gotgt")
	if _, err := output(ctx, "go", "build", "-o", binary, "github.com/gostor/gotgt"); err != nil {
		return &Missing{"gotgt", err.Error()}
	}
	if err := fill(p.Image, o.Size); err != nil {
		return err
	}
	if err := gotgtConfiguration(p, o); err != nil {
		return err
	}
	control := "tcp://127.0.0.1:" + strconv.Itoa(o.Port+1)
	if err := p.run(o, o.Self, "isolate", binary, "--host", control, "daemon", "--port", strconv.Itoa(o.Port), "--log", "error"); err != nil {
		return err
	}
	p.Namespace = p.PID
	return p.until(ctx, func() bool { return listens(p.PID, o.Port) == nil })
}

func gotgtConfiguration(p *Peer, o Options) error {
	type table = map[string]any
	text, err := json.Marshal(table{
		"storages":     []table{{"deviceID": 1000, "path": "file:" + p.Image, "online": true, "thinProvisioning": true, "blockShift": 9}},
		"iscsiportals": []table{{"id": 0, "portal": p.Address}},
		"iscsitargets": table{p.Target: table{"tpgts": table{"1": []int{0}}, "luns": table{"0": 1000}}},
	})
	if err != nil {
		return err
	}
	directory := filepath.Join(o.Directory, ".gotgt")
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(directory, "config.json"), text, 0o600)
}

// listens tells by /proc whether somebody in the network namespace of pid listens on the port: a connection from here
// would go elsewhere.
func listens(pid, port int) error {
	for _, table := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil {
			return err
		}
		if hasListener(string(text), port) {
			return nil
		}
	}
	return errors.New("nobody listens")
}

// hasListener looks for a socket in the state LISTEN (0A) on the port in the text of /proc/net/tcp.
func hasListener(text string, port int) bool {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) > 3 && fields[3] == "0A" && strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", port)) {
			return true
		}
	}
	return false
}
