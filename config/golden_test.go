package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/problem"
)

// TestGolden runs the scripts of testdata/golden: YAML above, exact complaints
// below. `go test ./config -rewrite` writes what comes out instead.
//
//	check [env=(A=b,...)]           load the input as penstock.yaml
//	places                          the same, without the words of the complaints
//	dump [env=(...)] part=journal   the values that were read
//	file name=a.yaml                write a file
//	load paths=(a.yaml,...) [env=(...)] [part=...]
//	reset                           start in a new folder
//
// What the other packages say is checked by their own tests: here, places shows
// only where they point.
func TestGolden(t *testing.T) {
	datadriven.Walk(t, "testdata/golden", runScript)
}

func runScript(t *testing.T, path string) {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	datadriven.RunTest(t, path, runCommand)
}

func runCommand(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	var env, paths []string
	var part, name string
	d.MaybeScanArgs(t, "part", &part)
	d.MaybeScanArgs(t, "name", &name)
	env = arg(d, "env")
	paths = arg(d, "paths")
	switch d.Cmd {
	case "reset":
		t.Chdir(t.TempDir())
		return ""
	case "file":
		writeFile(t, name, d.Input)
		return ""
	case "load":
		return show(t, part, paths, env)
	case "check", "dump":
		writeFile(t, "penstock.yaml", unescape(d.Input))
		return show(t, part, []string{"penstock.yaml"}, env)
	case "places":
		writeFile(t, "penstock.yaml", unescape(d.Input))
		return places(t)
	}
	d.Fatalf(t, "unknown command %q", d.Cmd)
	return ""
}

// arg returns the values of an argument; a value may hold an equals sign.
func arg(d *datadriven.TestData, key string) []string {
	for _, a := range d.CmdArgs {
		if a.Key == key {
			return slices.DeleteFunc(a.Vals, func(v string) bool { return v == "" })
		}
	}
	return nil
}

// unescape allows characters in scripts that editors do not keep.
func unescape(s string) string {
	return strings.NewReplacer("<TAB>", "\t", "<CR>", "\r", "<BOM>", "\ufeff", "<BELL>", "\a", "<FF>", "\xff", "<END>", "").Replace(s)
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// show loads files and prints the complaints, or a part of the values.
func show(t *testing.T, part string, paths, env []string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := config.Load(paths, env)
	var out strings.Builder
	switch {
	case err != nil:
		if _, ok := errors.AsType[problem.List](err); !ok {
			out.WriteString("environment: ")
		}
		out.WriteString(err.Error() + "\n")
	case part == "":
		out.WriteString("ok\n")
		for _, w := range loaded.Warnings {
			fmt.Fprintf(&out, "warning: %v\n", w)
		}
	default:
		out.WriteString(dump(t, loaded.Config, part))
	}
	return strings.ReplaceAll(out.String(), dir, "$DIR")
}

// dump prints what is set in a part of the configuration as JSON.
func dump(t *testing.T, c config.Config, part string) string {
	t.Helper()
	parts := map[string]any{
		"listeners": c.Listeners, "admin": c.Admin, "dead_letters": c.DeadLetters, "auth": c.Auth, "journal": c.Journal, "sinks": c.Sinks, "rules": c.Rules, "all": c,
	}
	text, err := json.Marshal(parts[part])
	if err != nil {
		t.Fatal(err)
	}
	var v any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&v); err != nil {
		t.Fatal(err)
	}
	if text, err = json.MarshalIndent(prune(v), "", "  "); err != nil {
		t.Fatal(err)
	}
	return string(text) + "\n"
}

// prune takes out of maps what is empty, so that a new key changes only the
// scripts that are about it. A pointer to false stays.
func prune(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = prune(v[i])
		}
	case map[string]any:
		for key, value := range v {
			if kept[key] && value != nil {
				continue
			}
			value = prune(value)
			v[key] = value
			if below, isMap := value.(map[string]any); value == nil || value == "" || value == json.Number("0") || isMap && len(below) == 0 {
				delete(v, key)
			}
		}
	}
	return v
}

// kept are the keys under which emptiness says something.
var kept = map[string]bool{"TLS": true, "Stdout": true, "set": true, "Payload": true, "Value": true, "Properties": true, "Headers": true}

// places prints where the complaints point, without their words.
func places(t *testing.T) string {
	t.Helper()
	_, err := config.Load([]string{"penstock.yaml"}, nil)
	list, ok := errors.AsType[problem.List](err)
	if !ok {
		return fmt.Sprintf("%v\n", err)
	}
	var out strings.Builder
	for _, p := range list {
		p.Message, p.Hint = p.Path, ""
		out.WriteString(p.Error() + "\n")
	}
	return out.String()
}
