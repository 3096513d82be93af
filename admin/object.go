package admin

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/provision"
)

// An Object is one of the configuration as a client sees it: see [provision.ObjectStatus].
type Object struct {
	Table   configs.Table  `json:"table"`
	Name    string         `json:"name"`
	Made    bool           `json:"made"`
	Where   string         `json:"where"`
	Version string         `json:"version"`
	Object  map[string]any `json:"object"` // with the keys of the TOML table
}

// Text is the value of a key that holds a text.
func (o Object) Text(key string) string {
	s, _ := o.Object[key].(string)
	return s
}

// A Batch is changes of objects that are made together: all of them or none.
type Batch struct {
	Put    []Put              `json:"put,omitempty"`
	Delete []provision.Delete `json:"delete,omitempty"`
}

// A Put makes an object, or has another one take its place.
type Put struct {
	Table   configs.Table `json:"table"`
	Object  any           `json:"object"`            // with the keys of the TOML table
	Version string        `json:"version,omitempty"` // of the one it replaces; empty: there is none
}

// Changed is what a change has done, as a client sees it: see [Change].
type Changed struct {
	Changes  []string `json:"changes"`
	Warnings []string `json:"warnings"`
	Objects  []Object `json:"objects"`
}

// table reads the name of a table in the path of r.
func table(r *http.Request) (t configs.Table, err error) {
	if err := t.UnmarshalText([]byte(r.PathValue("table"))); err != nil {
		return t, &provision.UnknownError{What: "table", Name: r.PathValue("table"), Known: tableNames()}
	}
	return t, nil
}

func tableNames() (names []string) {
	for _, t := range configs.Tables() {
		names = append(names, string(t))
	}
	return names
}

func (s *Server) objects(r *http.Request) (any, error) {
	t, err := table(r)
	if err != nil {
		return nil, err
	}
	return s.daemon.Objects(t), nil
}

func (s *Server) object(r *http.Request) (any, error) {
	t, err := table(r)
	if err != nil {
		return nil, err
	}
	return s.daemon.Object(t, r.PathValue("name"))
}

// body reads an object in the body of r.
func body(r *http.Request) (configs.Object, error) {
	t, err := table(r)
	if err != nil {
		return configs.Object{}, err
	}
	var text json.RawMessage
	if err := decode(r, &text); err != nil {
		return configs.Object{}, err
	}
	return parse(t, text)
}

func parse(t configs.Table, text []byte) (configs.Object, error) {
	o, err := configs.ObjectFromJSON(t, text)
	if err != nil {
		return o, &requestError{err.Error()}
	}
	return o, nil
}

// version is what a request says of the version that it wants to change.
func version(r *http.Request) string {
	return strings.Trim(strings.TrimPrefix(r.Header.Get("If-Match"), "W/"), `"`)
}

func (s *Server) createObject(r *http.Request) (any, error) {
	o, err := body(r)
	if err != nil {
		return nil, err
	}
	return s.daemon.Edit(r.Context(), provision.Batch{Puts: []provision.Put{{Object: o}}})
}

func (s *Server) putObject(r *http.Request) (any, error) {
	o, err := body(r)
	if err != nil {
		return nil, err
	}
	if want := r.PathValue("name"); o.Name() != want && !(o.Table == configs.TargetTable && strings.EqualFold(o.Name(), want)) {
		return nil, &requestError{"the object in the body is called " + o.Name() + ", and the path says " + want + "; make them the same"}
	}
	return s.daemon.Edit(r.Context(), provision.Batch{Puts: []provision.Put{{Object: o, Version: version(r)}}})
}

func (s *Server) deleteObject(r *http.Request) (any, error) {
	t, err := table(r)
	if err != nil {
		return nil, err
	}
	d := provision.Delete{Table: t, Name: r.PathValue("name"), Version: version(r), Image: r.URL.Query().Get("image") == "delete"}
	return s.daemon.Edit(r.Context(), provision.Batch{Deletes: []provision.Delete{d}})
}

func (s *Server) change(r *http.Request) (any, error) {
	var sent struct {
		Put []struct {
			Table   configs.Table   `json:"table"`
			Object  json.RawMessage `json:"object"`
			Version string          `json:"version"`
		} `json:"put"`
		Delete []provision.Delete `json:"delete"`
	}
	if err := decode(r, &sent); err != nil {
		return nil, err
	}
	b := provision.Batch{Deletes: sent.Delete}
	for _, p := range sent.Put {
		if p.Table == "" {
			return nil, &requestError{"a put names no table: lun, target, ..."}
		}
		o, err := parse(p.Table, p.Object)
		if err != nil {
			return nil, err
		}
		b.Puts = append(b.Puts, provision.Put{Object: o, Version: p.Version})
	}
	return s.daemon.Edit(r.Context(), b)
}
