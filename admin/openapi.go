package admin

import (
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/job"
	"github.com/isantarget/isantarget/provision"
)

// A description is what the OpenAPI document says of a route.
type description struct {
	summary string
	takes   any      // the body of the request; nil: none
	gives   any      // the body of the answer; nil: an empty object
	query   []string // parameters
	match   bool     // If-Match names a version
	open    bool     // needs no token
}

// An object is, in descriptions, one of the table in the path.
type object struct{}

// plain is an answer that is no JSON.
type plain string

// failure is the body of every answer that is not 200.
type failure struct {
	Error string `json:"error"`
}

// descriptions are those of all routes.
func descriptions() map[string]description {
	return map[string]description{
		"GET /openapi.json":                       {summary: "This document", gives: map[string]any{}},
		"GET /events":                             {summary: "What happens, as it happens: server-sent events, behind the event of Last-Event-ID or after", gives: Event{}, query: []string{"after"}},
		"GET /metrics":                            {summary: "All that is counted and measured, for Prometheus", gives: plain("")},
		"GET /status":                             {summary: "All that runs, at one glance", gives: Status{}},
		"GET /load":                               {summary: "What has been done, by LUN, target and session: counters that only grow, to be looked at again and again", gives: provision.LoadStatus{}},
		"GET /sessions":                           {summary: "Who is logged in", gives: []provision.SessionStatus{}},
		"GET /login":                              {summary: "Who asks, and what it may do", gives: Caller{}},
		"POST /login":                             {summary: "Log a browser in: the cookie of the answer stands for the token", takes: loginRequest{}, gives: Caller{}, open: true},
		"POST /logout":                            {summary: "End what the cookie stands for", open: true},
		"DELETE /sessions/{tsih}":                 {summary: "Log an initiator out"},
		"GET /luns":                               {summary: "The LUNs, and the access state of each path", gives: []provision.LUNStatus{}},
		"PUT /luns/{lun}/access-states/{group}":   {summary: "Change the access state of a path", takes: accessState{}},
		"GET /luns/{lun}":                         {summary: "Show all of one LUN: sizes, extents, identity, sessions", gives: provision.LUNDetail{}},
		"GET /luns/{lun}/map":                     {summary: "Draw a coarse map of what of a LUN is allocated: by cells of equal length, 512 where cells does not say another number", gives: provision.AllocationMap{}, query: []string{"cells"}},
		"POST /luns/{lun}/defragment":             {summary: "Lay the image of a LUN together: a long operation", gives: job.Status{}},
		"POST /luns/{lun}/grow":                   {summary: "Make a LUN larger: a long operation", takes: newSize{}, gives: job.Status{}},
		"POST /luns/{lun}/shrink":                 {summary: "Make a LUN smaller, which loses what lies behind: a long operation", takes: smallerSize{}, gives: job.Status{}},
		"POST /luns/{lun}/verify":                 {summary: "Read all that is allocated of a LUN: a long operation, whose unreadable are the ranges of blocks that cannot be read", takes: pace{}, gives: job.Status{}},
		"POST /luns/{lun}/copy":                   {summary: "Make another LUN that holds what a LUN holds, which nobody uses, or a snapshot of it, and shares nothing with it: a long operation", takes: provision.Copying{}, gives: job.Status{}},
		"POST /luns/{lun}/recover":                {summary: "Serve a LUN again that has failed", takes: provision.Recovery{}},
		"GET /luns/{lun}/faults":                  {summary: "The faults that are in force on purpose", gives: []provision.FaultStatus{}},
		"PUT /luns/{lun}/faults":                  {summary: "Replace the faults that are in force on purpose", takes: faultWords{}},
		"GET /stores":                             {summary: "What the stores have, have given, and have promised", gives: []provision.StoreStatus{}},
		"GET /snapshots":                          {summary: "The snapshots of all LUNs", gives: []provision.SnapshotStatus{}},
		"POST /snapshots":                         {summary: "Take snapshots of LUNs, of all at one point in time", takes: takeRequest{}, gives: provision.SnapshotsTaken{}},
		"GET /luns/{lun}/snapshots":               {summary: "The snapshots of a LUN", gives: []provision.SnapshotStatus{}},
		"GET /luns/{lun}/snapshots/{snapshot}":    {summary: "A snapshot", gives: provision.SnapshotStatus{}},
		"DELETE /luns/{lun}/snapshots/{snapshot}": {summary: "Delete a snapshot: a long operation", gives: job.Status{}},
		"POST /luns/{lun}/rollback":               {summary: "Make a LUN what it was when a snapshot was taken", takes: rollbackRequest{}},
		"POST /luns/{lun}/clone":                  {summary: "Make an image for a LUN of a snapshot, or of what a LUN holds now", takes: cloneRequest{}, gives: provision.CloneStatus{}},
		"GET /targets":                            {summary: "The targets and their portals", gives: []provision.TargetStatus{}},
		"GET /reservations":                       {summary: "Registrations and reservations, by LUN", gives: []provision.ReservationStatus{}},
		"GET /reservations/{lun}":                 {summary: "The registrations and reservations of a LUN", gives: provision.ReservationStatus{}},
		"DELETE /reservations/{lun}":              {summary: "Clear the reservations of a LUN, whoever holds them"},
		"GET /jobs":                               {summary: "The long operations that run, and those that have ended of late", gives: []job.Status{}},
		"GET /jobs/{job}":                         {summary: "A long operation", gives: job.Status{}},
		"DELETE /jobs/{job}":                      {summary: "Ask a long operation to end"},
		"POST /reload":                            {summary: "Apply the configuration file again", gives: Change{}},
		"POST /apply":                             {summary: "Apply the configuration file, if it is this one", takes: application{}, gives: Change{}},
		"POST /plan":                              {summary: "Say what the configuration file would change if it said this text", takes: candidate{}, gives: provision.Forecast{}},
		"GET /config":                             {summary: "The whole configuration that runs, with serials; as TOML with format=toml", gives: configs.Config{}, query: []string{"format"}},
		"GET /config/{table}":                     {summary: "The objects of a table of the configuration", gives: []provision.ObjectStatus{}},
		"POST /config/{table}":                    {summary: "Make an object", takes: object{}, gives: Change{}},
		"GET /config/{table}/{name}":              {summary: "An object; its version is the ETag", gives: provision.ObjectStatus{}},
		"PUT /config/{table}/{name}":              {summary: "Make an object, or change the version of it that If-Match names", takes: object{}, gives: Change{}, match: true},
		"DELETE /config/{table}/{name}":           {summary: "Take away the version of an object that If-Match names; image=delete removes the image of a LUN", gives: Change{}, query: []string{"image"}, match: true},
		"POST /changes":                           {summary: "Make many changes of objects, all of them or none", takes: Batch{}, gives: Change{}},
	}
}

// openAPI is the document of these routes. A route of a table stands there once for each.
func openAPI(version string, patterns []string) map[string]any {
	schemas := components{}
	for _, t := range configs.Tables() {
		schemas["config-"+string(t)] = t.Schema()
	}
	schemas["config"] = configs.Config{}.Schema()
	paths := map[string]map[string]any{}
	all := descriptions()
	for _, pattern := range patterns {
		method, path, _ := strings.Cut(pattern, " ")
		tables := []configs.Table{""}
		if strings.Contains(path, "{table}") {
			tables = configs.Tables()
		}
		for _, t := range tables {
			at := strings.ReplaceAll(path, "{table}", string(t))
			if paths[at] == nil {
				paths[at] = map[string]any{}
			}
			paths[at][strings.ToLower(method)] = schemas.operation(all[pattern], pattern, at, t)
		}
	}
	return map[string]any{
		"openapi":    "3.0.3",
		"info":       map[string]any{"title": "isantarget", "version": version, "description": "What a running isantarget is looked at and changed by."},
		"paths":      paths,
		"components": map[string]any{"schemas": map[string]any(schemas), "securitySchemes": securitySchemes()},
	}
}

// securitySchemes are the ways to show who asks, each for a scope. Who comes by the socket
// in the state directory needs none of them.
func securitySchemes() map[string]any {
	schemes := map[string]any{}
	for scope, what := range map[configs.Scope]string{configs.ReadScope: "A token of any scope", configs.WriteScope: "A token with the scope write"} {
		schemes[string(scope)] = map[string]any{"type": "http", "scheme": "bearer", "description": what}
		schemes[string(scope)+"-cookie"] = map[string]any{"type": "apiKey", "in": "cookie", "name": cookieName + "-PORT", "description": what + ", shown to POST /login before"}
	}
	return schemes
}

// security is what a route wants shown.
func (d description) security(pattern string) []any {
	if d.open {
		return []any{}
	}
	scope := string(d.scope(pattern))
	return []any{map[string]any{scope: []any{}}, map[string]any{scope + "-cookie": []any{}}}
}

// scope is what a token has to be for. A plan changes nothing, and yet is not for who may only look:
// the text that is planned names files, of secrets for instance, and what is wrong with them is told.
func (d description) scope(pattern string) configs.Scope {
	if strings.HasPrefix(pattern, http.MethodGet+" ") {
		return configs.ReadScope
	}
	return configs.WriteScope
}

// scopes are those of all routes.
func scopes() map[string]configs.Scope {
	all := map[string]configs.Scope{}
	for pattern, d := range descriptions() {
		all[pattern] = d.scope(pattern)
	}
	return all
}

// parameter finds the parameters of a path.
var parameter = regexp.MustCompile(`\{(\w+)\}`)

// components are the schemas by name.
type components map[string]any

// operation is a route in the document.
func (c components) operation(d description, pattern, path string, t configs.Table) map[string]any {
	parameters := []any{}
	for _, m := range parameter.FindAllStringSubmatch(path, -1) {
		parameters = append(parameters, map[string]any{"name": m[1], "in": "path", "required": true, "schema": map[string]any{"type": "string"}})
	}
	for _, q := range d.query {
		parameters = append(parameters, map[string]any{"name": q, "in": "query", "schema": map[string]any{"type": "string"}})
	}
	if d.match {
		parameters = append(parameters, map[string]any{"name": "If-Match", "in": "header", "schema": map[string]any{"type": "string"}})
	}
	kind := "application/json"
	if pattern == "GET /events" {
		kind = "text/event-stream"
	} else if _, ok := d.gives.(plain); ok {
		kind = "text/plain"
	}
	good := map[string]any{"description": "done", "content": content(kind, c.of(d.gives, t))}
	bad := map[string]any{"description": "what is wrong, and what to do", "content": content("application/json", c.of(failure{}, t))}
	o := map[string]any{"summary": d.summary, "parameters": parameters, "security": d.security(pattern), "responses": map[string]any{"200": good, "default": bad}}
	if d.takes != nil {
		o["requestBody"] = map[string]any{"required": true, "content": content("application/json", c.of(d.takes, t))}
	}
	return o
}

func content(kind string, schema map[string]any) map[string]any {
	return map[string]any{kind: map[string]any{"schema": schema}}
}

func reference(name string) map[string]any {
	return map[string]any{"$ref": "#/components/schemas/" + name}
}

// of is the schema of a value as JSON; t is the table that an object in it is of.
func (c components) of(v any, t configs.Table) map[string]any {
	if v == nil {
		v = done{}
	}
	if _, ok := v.(object); ok {
		return reference("config-" + string(t))
	}
	if list, ok := v.([]provision.ObjectStatus); ok && list != nil {
		return map[string]any{"type": "array", "items": c.of(provision.ObjectStatus{}, t)}
	}
	return c.schema(reflect.TypeOf(v))
}

// schema is that of a Go type as package json writes it. Structs are named.
func (c components) schema(t reflect.Type) map[string]any {
	switch t {
	case reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	case reflect.TypeFor[configs.Config]():
		return reference("config")
	case reflect.TypeFor[configs.Object](), reflect.TypeFor[json.RawMessage]():
		return map[string]any{"type": "object"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return c.schema(t.Elem())
	case reflect.Slice:
		return map[string]any{"type": "array", "items": c.schema(t.Elem()), "nullable": true}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": c.schema(t.Elem()), "nullable": true}
	case reflect.Interface:
		return map[string]any{}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Float32, reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Struct:
		return c.structure(t)
	}
	return map[string]any{"type": "integer"}
}

// structure names the schema of a struct.
func (c components) structure(t reflect.Type) map[string]any {
	name := t.String() // with its package: job.Status is not admin.Status
	if _, known := c[name]; known {
		return reference(name)
	}
	c[name] = nil // it may refer to itself
	properties, required := map[string]any{}, []string{}
	for _, f := range reflect.VisibleFields(t) { // those of embedded structs are among them
		key, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if key == "" || key == "-" {
			continue
		}
		properties[key] = c.schema(f.Type)
		if !strings.HasPrefix(options, "omit") {
			required = append(required, key)
		}
	}
	s := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		s["required"] = required
	}
	c[name] = s
	return reference(name)
}

// document answers with what this server can be asked for.
func (s *Server) document(*http.Request) (any, error) {
	return openAPI(s.daemon.Version(), slices.Sorted(maps.Keys(descriptions()))), nil
}
