package configs

import (
	"encoding"
	"reflect"
	"time"
)

// Schema is the JSON schema of the objects of a table, for documents of programs.
func (t Table) Schema() map[string]any { return schemaOf(t.schema()) }

// Schema is that of the whole configuration.
func (c Config) Schema() map[string]any { return schemaOf(reflect.TypeFor[Config]()) }

// schemaOf is the JSON schema of what the decoder takes for a type.
func schemaOf(t reflect.Type) map[string]any {
	if t.Kind() == reflect.Pointer {
		return schemaOf(t.Elem())
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		if t == reflect.TypeFor[Size]() {
			return map[string]any{"oneOf": []any{map[string]any{"type": "string"}, map[string]any{"type": "integer", "minimum": 0}}}
		}
		return map[string]any{"type": "string"}
	}
	if t == reflect.TypeFor[time.Duration]() {
		return map[string]any{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Struct:
		properties := map[string]any{}
		for i := range t.NumField() {
			if key := t.Field(i).Tag.Get("toml"); key != "" {
				properties[key] = schemaOf(t.Field(i).Type)
			}
		}
		return map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schemaOf(t.Elem())}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return map[string]any{"type": "integer"}
	}
	return map[string]any{"type": "string"}
}
