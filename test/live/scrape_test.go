package live

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// scraped asks for what configs/prometheus/prometheus.yml says, in the way it says, of the
// daemon at this address; files are what stands in those that it names.
func (g *gate) scraped(files map[string][]byte) (status int, text string) {
	g.t.Helper()
	sample, err := os.Open("../../configs/prometheus/prometheus.yml")
	if err != nil {
		g.t.Fatal(err)
	}
	defer sample.Close()
	var file struct {
		Scrapes []struct {
			Job           string `yaml:"job_name"`
			Scheme        string `yaml:"scheme"`
			Authorization struct {
				File string `yaml:"credentials_file"`
			} `yaml:"authorization"`
			TLS struct {
				CA string `yaml:"ca_file"`
			} `yaml:"tls_config"`
			Static []struct {
				Targets []string `yaml:"targets"`
			} `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
		Rules []string `yaml:"rule_files"`
	}
	decoder := yaml.NewDecoder(sample)
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil || len(file.Scrapes) != 1 || file.Scrapes[0].Job != "isantarget" || len(file.Scrapes[0].Static) != 1 {
		g.t.Fatalf("the sample is %+v, %v", file, err)
	}
	for _, name := range file.Rules {
		if _, err := os.Stat("../../configs/prometheus/" + name); err != nil {
			g.t.Error(err)
		}
	}
	scrape := file.Scrapes[0]
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(files[scrape.TLS.CA]) {
		g.t.Fatalf("there is no certificate in %q", scrape.TLS.CA)
	}
	// The metrics path and the type of the token are the defaults of Prometheus.
	r, err := http.NewRequestWithContext(g.t.Context(), "GET", scrape.Scheme+"://"+g.address+"/metrics", nil)
	if err != nil {
		g.t.Fatal(err)
	}
	if token := files[scrape.Authorization.File]; token != nil {
		r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool}}}
	response, err := client.Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		g.t.Error(err)
	}
	return response.StatusCode, string(body)
}

// wantScraped wants Prometheus to have numbers by the sample, and nobody to have them without
// a token, or with one that is not good.
func (g *gate) wantScraped(t *testing.T, certificate []byte) {
	t.Helper()
	const token, ca = "/etc/prometheus/isantarget.token", "/etc/prometheus/isantarget-cert.pem"
	if status, text := g.scraped(map[string][]byte{ca: certificate, token: []byte(readToken + "\n")}); status != 200 || !strings.Contains(text, "\nisantarget_") {
		t.Errorf("by the sample: %d %s", status, text)
	}
	for what, files := range map[string]map[string][]byte{"no token": {ca: certificate}, "a wrong token": {ca: certificate, token: []byte("wrong-0123456789abcdef")}} {
		if status, text := g.scraped(files); status != 401 || strings.Contains(text, "isantarget_") {
			t.Errorf("with %s: %d %s", what, status, text)
		}
	}
}
