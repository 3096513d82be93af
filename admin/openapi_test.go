package admin

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// TestDocumentNamesEveryRoute, and nothing else.
func TestDocumentNamesEveryRoute(t *testing.T) {
	routes := append(slices.Collect(maps.Keys((&Server{}).table())), "GET /events", "GET /metrics", loginPattern, logoutPattern)
	for _, pattern := range routes {
		if descriptions()[pattern].summary == "" {
			t.Errorf("the OpenAPI document does not describe %s: add it to descriptions", pattern)
		}
	}
	for pattern := range descriptions() {
		if !slices.Contains(routes, pattern) {
			t.Errorf("the OpenAPI document describes %s, which nothing answers", pattern)
		}
	}
}

// bodies are what requests send whose zero value makes no sense.
func bodies() map[string]string {
	return map[string]string{
		"/apply": `{"file": "/f"}`, "/plan": `{"name": "f", "dir": "/", "text": ""}`,
		"/config/lun/n": `{"name": "n", "size": "1GiB"}`, "/config/target/n": `{"name": "n", "luns": {"0": "a"}}`, "/config/store/n": `{"name": "n"}`,
		"/config/rule/n": `{"name": "n", "networks": ["10.0.0.1"]}`, "/config/portal-group/1": `{"tag": 1}`, "/config/map/t%2F1": `{"target": "t", "number": 1}`,
		"/changes": `{"put": [{"table": "lun", "object": {"name": "n"}}], "delete": [{"table": "map", "name": "t/1", "version": "*", "image": false}]}`,
	}
}

// TestAnswersAreAsTheDocumentSays asks for everything that the document names.
func TestAnswersAreAsTheDocumentSays(t *testing.T) {
	f := &fake{sound: true}
	socket, _ := serve(t, f)
	doc := load(t, socket)
	asked := 0
	for path, item := range doc.Paths.Map() {
		for method, o := range item.Operations() {
			if path == "/events" || path == "/metrics" {
				continue // does not end, or is no JSON
			}
			asked++
			at := strings.NewReplacer("/config/map/{name}", "/config/map/t%2F1", "/config/portal-group/{name}", "/config/portal-group/1", "{name}", "n",
				"{tsih}", "1", "{group}", "1", "{lun}", "a", "{job}", "1").Replace(path)
			body := ""
			if o.RequestBody != nil {
				if body = bodies()[at]; body == "" {
					body = "{}"
				}
				if o.RequestBody.Value.Content["application/json"] == nil {
					t.Errorf("%s %s takes no JSON", method, path)
				} else if err := visit(o.RequestBody.Value.Content["application/json"].Schema.Value, body); err != nil && body != "{}" {
					t.Errorf("%s %s takes %s, says the document not: %v", method, path, body, err)
				}
			}
			status, answer := exchange(t, socket, method, at, body)
			if status != http.StatusOK {
				t.Errorf("%s %s: %d %s", method, at, status, answer)
				continue
			}
			if err := visit(o.Responses.Value("200").Value.Content["application/json"].Schema.Value, answer); err != nil {
				t.Errorf("%s %s answers %s: %v", method, at, answer, err)
			}
		}
	}
	if asked < 30 {
		t.Errorf("%d requests are too few", asked)
	}
	status, answer := exchange(t, socket, "GET", "/luns/a/b/c", "")
	if err := visit(doc.Components.Schemas["admin.failure"].Value, answer); status != 404 || err != nil {
		t.Errorf("a failure is %d %s: %v", status, answer, err)
	}
}

// load gets the document, and finds it valid.
func load(t *testing.T, socket string) *openapi3.T {
	t.Helper()
	status, text := exchange(t, socket, "GET", "/openapi.json", "")
	doc, err := openapi3.NewLoader().LoadFromData([]byte(text))
	if err != nil || status != 200 {
		t.Fatalf("%d %v\n%s", status, err, text)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return doc
}

func visit(s *openapi3.Schema, text string) error {
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return err
	}
	return s.VisitJSON(v)
}
