package daemon

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/isantarget/isantarget/test/peer"
)

// TestAlerts has Prometheus's own tool read the alert rules and the scrape configuration, and play series to the rules in
// which each of them fires, and does not.
func TestAlerts(t *testing.T) {
	t.Parallel()
	peer.Need(t, "prometheus")
	const tests = "testdata/alerts.yml"
	for _, args := range [][]string{
		{"check", "rules", "--lint=all", "--lint-fatal", "../../configs/prometheus/alerts.yml"},
		{"check", "config", "--syntax-only", "../../configs/prometheus/prometheus.yml"},
		{"test", "rules", tests},
	} {
		if out, err := exec.Command("promtool", args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	played, err := os.ReadFile(tests)
	if err != nil {
		t.Fatal(err)
	}
	for alert := range alertExpressions(t) {
		if !strings.Contains(string(played), `alertname="`+alert+`"`) && !strings.Contains(string(played), "alertname: "+alert+"\n") {
			t.Errorf("%s has nothing that makes %s fire", tests, alert)
		}
	}
}
