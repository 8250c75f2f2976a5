package collector

import (
	"fmt"
	"path"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// step is one part of a property path: a field, or the element of an array with a key.
type step struct {
	field string
	key   any // string or int32; nil for a field
}

// parsePath takes `config.extraConfig["guestinfo.metadata"].value` apart.
func parsePath(text string) ([]step, error) {
	var steps []step
	for rest := text; rest != ""; {
		at := strings.IndexAny(rest, ".[")
		switch {
		case at < 0:
			steps, rest = append(steps, step{field: rest}), ""
		case at > 0:
			steps = append(steps, step{field: rest[:at]})
			rest = rest[at:]
		case rest[0] == '.':
			if len(steps) == 0 || len(rest) == 1 || rest[1] == '.' || rest[1] == '[' {
				return nil, fmt.Errorf("property path %q is malformed", text)
			}
			rest = rest[1:]
		default:
			key, length, err := parseKey(rest)
			if err != nil || len(steps) == 0 {
				return nil, fmt.Errorf("property path %q: malformed key", text)
			}
			steps, rest = append(steps, step{key: key}), rest[length:]
		}
	}
	if len(steps) == 0 {
		return nil, fmt.Errorf("property path %q is empty", text)
	}
	return steps, nil
}

// parseKey reads ["text"] or [number] from the start of text.
func parseKey(text string) (key any, length int, err error) {
	if strings.HasPrefix(text, `["`) {
		end := strings.Index(text, `"]`)
		if end < 0 {
			return nil, 0, strconv.ErrSyntax
		}
		return text[2:end], end + 2, nil
	}
	end := strings.IndexByte(text, ']')
	if end < 0 {
		return nil, 0, strconv.ErrSyntax
	}
	n, err := strconv.ParseInt(text[1:end], 10, 32)
	return int32(n), end + 1, err
}

// managed finds the API's own struct in an object of the simulator, which wraps it as its first field.
func managed(object mo.Reference) reflect.Value {
	value := reflect.ValueOf(object).Elem()
	for path.Base(value.Type().PkgPath()) != "mo" {
		if value.Kind() != reflect.Struct || value.NumField() == 0 {
			return reflect.Value{}
		}
		value = value.Field(0)
		if value.Kind() == reflect.Pointer || value.Kind() == reflect.Interface {
			value = value.Elem()
		}
	}
	return value
}

// read gives a frozen copy of a property, or nil where it is unset. The caller holds the object's lock.
func read(object reflect.Value, steps []step) any {
	value := object
	for _, s := range steps {
		value = solid(value)
		if !value.IsValid() {
			return nil
		}
		if s.key != nil {
			value = element(value, s.key)
		} else if value.Kind() == reflect.Struct {
			value = value.FieldByName(exported(s.field))
		} else {
			return nil // a path into an array needs a key
		}
		if !value.IsValid() {
			return nil
		}
	}
	if unset(value) {
		return nil
	}
	value = solid(value)
	return wrapped(frozen(value))
}

// solid follows interfaces and pointers; the result is invalid when one of them is nil.
func solid(value reflect.Value) reflect.Value {
	for value.Kind() == reflect.Interface || value.Kind() == reflect.Pointer {
		if value.IsNil() {
			return reflect.Value{}
		}
		value = value.Elem()
	}
	return value
}

func element(list reflect.Value, key any) reflect.Value {
	if list.Kind() != reflect.Slice {
		return reflect.Value{}
	}
	for i := range list.Len() {
		item := solid(list.Index(i))
		if !item.IsValid() || item.Kind() != reflect.Struct {
			continue
		}
		if field := item.FieldByName("Key"); field.IsValid() && field.Interface() == key {
			return item
		}
	}
	return reflect.Value{}
}

var timeType = reflect.TypeFor[time.Time]()

func unset(value reflect.Value) bool {
	switch value.Kind() {
	case reflect.Pointer, reflect.Interface:
		return value.IsNil()
	case reflect.String:
		return value.Len() == 0
	case reflect.Struct:
		if value.Type() == timeType {
			return value.Interface().(time.Time).IsZero()
		}
		return value.Type() == refType && value.Interface().(ref).Value == ""
	}
	return false
}

var refType = reflect.TypeFor[ref]()

// frozen copies a value in depth.
func frozen(value reflect.Value) reflect.Value {
	switch value.Kind() {
	case reflect.Pointer, reflect.Interface:
		if value.IsNil() {
			return value
		}
		inner := frozen(value.Elem())
		if value.Kind() == reflect.Interface {
			out := reflect.New(value.Type()).Elem()
			out.Set(inner)
			return out
		}
		out := reflect.New(inner.Type())
		out.Elem().Set(inner)
		return out
	case reflect.Slice:
		if value.IsNil() {
			return value
		}
		out := reflect.MakeSlice(value.Type(), value.Len(), value.Len())
		for i := range value.Len() {
			out.Index(i).Set(frozen(value.Index(i)))
		}
		return out
	case reflect.Struct:
		out := reflect.New(value.Type()).Elem()
		out.Set(value)
		if value.Type() == timeType {
			return out
		}
		for i := range value.NumField() {
			if field := value.Type().Field(i); field.IsExported() {
				out.Field(i).Set(required(field, frozen(value.Field(i))))
			}
		}
		return out
	}
	return value
}

// choices are the values of enumerations that a required but empty field gets; others get their first.
var choices = map[string]string{
	"VirtualMachineFaultToleranceState": string(types.VirtualMachineFaultToleranceStateNotConfigured),
	"VirtualMachineRecordReplayState":   string(types.VirtualMachineRecordReplayStateInactive),
	"ManagedEntityStatus":               string(types.ManagedEntityStatusGray),
}

// required fills in enumerations that the simulator leaves empty where the API demands a value: clients
// such as pyVmomi cannot read an empty one.
func required(field reflect.StructField, value reflect.Value) reflect.Value {
	if value.Kind() != reflect.String || value.Len() > 0 || value.Type().PkgPath() == "" ||
		strings.Contains(field.Tag.Get("xml"), "omitempty") {
		return value
	}
	out := reflect.New(value.Type()).Elem()
	if choice, ok := choices[value.Type().Name()]; ok {
		out.SetString(choice)
	} else if values := value.MethodByName("Values"); values.IsValid() && values.Type().NumIn() == 0 {
		if all := values.Call(nil)[0]; all.Kind() == reflect.Slice && all.Len() > 0 {
			return all.Index(0)
		}
	}
	return out
}

// wrapped turns a slice into the API's array type, which answers must have.
func wrapped(value reflect.Value) any {
	if value.Kind() != reflect.Slice {
		return value.Interface()
	}
	switch list := value.Interface().(type) {
	case []string:
		return &types.ArrayOfString{String: list}
	case []uint8:
		return &types.ArrayOfByte{Byte: list}
	case types.ByteSlice:
		return &types.ArrayOfByte{Byte: list}
	case []int16:
		return &types.ArrayOfShort{Short: list}
	case []int32:
		return &types.ArrayOfInt{Int: list}
	case []int64:
		return &types.ArrayOfLong{Long: list}
	}
	name := strings.TrimPrefix(value.Type().Elem().Name(), "Base")
	kind, ok := types.TypeFunc()("ArrayOf" + name)
	if !ok {
		return value.Interface()
	}
	array := reflect.New(kind)
	array.Elem().FieldByName(name).Set(value)
	return array.Interface()
}

func exported(name string) string { return strings.ToUpper(name[:1]) + name[1:] }

func propertyName(field string) string { return strings.ToLower(field[:1]) + field[1:] }

// properties lists all properties of a managed object type.
func properties(kind reflect.Type) []string {
	var names []string
	for i := range kind.NumField() {
		field := kind.Field(i)
		switch {
		case field.Anonymous:
			names = append(names, properties(field.Type)...)
		case field.Name != "Self":
			names = append(names, propertyName(field.Name))
		}
	}
	return names
}

// isA says whether a managed object type is the one named, or one of those it derives from.
func isA(kind reflect.Type, name string) bool {
	if kind.Name() == name {
		return true
	}
	for i := range kind.NumField() {
		if field := kind.Field(i); field.Anonymous && field.Type.Kind() == reflect.Struct && isA(field.Type, name) {
			return true
		}
	}
	return name == "ManagedObject"
}

// exists says whether a path can be one of a type's properties.
func exists(kind reflect.Type, steps []step) bool {
	for _, s := range steps {
		for kind.Kind() == reflect.Pointer {
			kind = kind.Elem()
		}
		switch {
		case kind.Kind() == reflect.Interface:
			return true // it depends on the object
		case s.key != nil:
			if kind.Kind() != reflect.Slice {
				return false
			}
			kind = kind.Elem()
		case kind.Kind() != reflect.Struct || s.field == "":
			return false
		default:
			field, ok := kind.FieldByName(exported(s.field))
			if !ok || field.Name == "Self" {
				return false
			}
			kind = field.Type
		}
	}
	return true
}
