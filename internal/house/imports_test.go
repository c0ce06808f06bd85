package house_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/penstock/penstock"

// A room is a package with the folders below it that are no room themselves.
type room struct {
	folder string // a last * stands for any one name
	floor  int    // imports point down: only at rooms of a lower floor
	// only, where it is not nil, names all that the room may import.
	only []string
	// tests: only tests, and the room's own main, may import it.
	tests bool
}

// house is the picture in docs/architecture.md, from the roof to the ground:
//
//	cmd -> internal/app -> config -> {broker, rules, pipelines, bridges/*} -> leaves
//
// Rooms of one floor never import one another: broker, rules and pipelines meet
// through small interfaces of the caller, joined in internal/app.
var house = []room{
	{folder: "examples", floor: 6},
	{folder: "internal/house", floor: 6},
	{folder: "internal/crashtest", floor: 3, tests: true},
	{folder: "deploy", floor: 6},
	{folder: "cmd", floor: 5},
	{folder: "internal/app", floor: 4},
	{folder: "config", floor: 3},
	{folder: "internal/inspect", floor: 3},
	{folder: "internal/factory", floor: 3, only: []string{"broker/packet", "internal/message"}},
	{folder: "broker", floor: 2},
	{folder: "rules", floor: 2},
	{folder: "pipelines", floor: 2},
	{folder: "bridges/*", floor: 2},
	{folder: "internal/admin", floor: 2, only: []string{"internal/problem"}},
	{folder: "bridges/bridgetest", floor: 1, tests: true, only: []string{"bridges", "internal/message", "internal/fault"}},
	{folder: "internal/kafkatest", floor: 1, tests: true, only: []string{}},
	{folder: "bridges", only: []string{"internal/message"}},
	{folder: "internal/journal", only: []string{"internal/message", "internal/fault", "internal/problem"}},
	{folder: "internal/linefile", only: []string{"internal/fault"}},
	{folder: "broker/packet", only: []string{}},
	{folder: "broker/topic", only: []string{}},
	{folder: "internal/message", only: []string{}},
	{folder: "internal/problem", only: []string{}},
	{folder: "internal/fault", only: []string{}},
}

// roomOf finds the room of a folder: the one whose own folder is the longest.
func roomOf(folder string) (room, bool) {
	var best room
	for _, r := range house {
		if covers(r.folder, folder) && len(r.folder) > len(best.folder) {
			best = r
		}
	}
	if best.folder == "bridges/*" { // each connector is a room of its own
		best.folder = strings.Join(strings.SplitN(folder, "/", 3)[:2], "/")
	}
	return best, best.folder != ""
}

// covers reports whether folder is pattern or below it.
func covers(pattern, folder string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(folder, prefix) && len(folder) > len(prefix)
	}
	return folder == pattern || strings.HasPrefix(folder, pattern+"/")
}

// wrong says what is wrong with a package importing another, "" when nothing.
func wrong(from, to room, inTest bool) string {
	switch {
	case from.folder == to.folder:
		return ""
	case to.tests:
		return testOnly(from, inTest)
	case inTest && to.floor < from.floor: // a test may meet all that is below
		return ""
	case from.only != nil && !slices.Contains(from.only, to.folder):
		return "it imports only what is named for it in the picture of the house"
	case from.only == nil && from.floor == to.floor:
		return "rooms of one floor never import one another"
	case from.only == nil && from.floor < to.floor:
		return "imports point down"
	}
	return ""
}

func testOnly(from room, inTest bool) string {
	if !inTest || from.only != nil && !from.tests {
		return "only tests of what stands above it may import it"
	}
	return ""
}

// badImports lists every wrong import of a tree.
func badImports(t *testing.T, all []source) []string {
	t.Helper()
	var bad []string
	for _, s := range all {
		from, ok := roomOf(s.folder())
		if !ok {
			bad = append(bad, s.folder()+": has no place in the picture of the house")
			continue
		}
		for _, spec := range s.file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			folder, ours := strings.CutPrefix(name, module+"/")
			if !ours {
				continue
			}
			if to, ok := roomOf(folder); !ok {
				bad = append(bad, fmt.Sprintf("%s: imports %s, which has no place", s.at(spec), folder))
			} else if reason := wrong(from, to, s.isTest()); reason != "" {
				bad = append(bad, fmt.Sprintf("%s: imports %s: %s", s.at(spec), folder, reason))
			}
		}
	}
	slices.Sort(bad)
	return slices.Compact(bad)
}

func TestImportsPointDown(t *testing.T) {
	for _, bad := range badImports(t, sources(t, root())) {
		t.Error(bad)
	}
}

// The test above is worth what it finds.
func TestWrongImportsAreFound(t *testing.T) {
	cases := []struct {
		file, imports string
		wrong         bool
	}{
		{"cmd/penstock/run.go", "internal/app", false},
		{"internal/app/app.go", "bridges/kafka", false},
		{"internal/app/app.go", "internal/admin", false},
		{"config/config.go", "internal/admin", false},
		{"config/config.go", "broker/auth", false},
		{"broker/broker.go", "broker/session", false},
		{"broker/session/session.go", "broker/packet", false},
		{"broker/publish.go", "internal/journal", false},
		{"rules/match.go", "broker/topic", false},
		{"internal/journal/frame.go", "internal/message", false},
		{"bridges/kafka/sink.go", "bridges", false},
		{"bridges/kafka/sink_test.go", "internal/kafkatest", false},
		{"bridges/kafka/sink_test.go", "bridges/bridgetest", false},
		{"bridges/bridgetest/suite.go", "bridges", false},
		{"internal/kafkatest/kafka/main.go", "internal/kafkatest", false},

		{"broker/publish.go", "rules", true},
		{"broker/publish_test.go", "rules", true},
		{"broker/session/session.go", "pipelines", true},
		{"rules/evaluate.go", "broker", true},
		{"rules/evaluate.go", "pipelines", true},
		{"pipelines/lane.go", "rules", true},
		{"pipelines/lane.go", "bridges/file", true},
		{"bridges/kafka/sink.go", "bridges/file", true},
		{"bridges/kafka/sink.go", "bridges/bridgetest", true},
		{"bridges/kafka/sink.go", "config", true},
		{"config/load.go", "internal/app", true},
		{"internal/admin/handler.go", "internal/journal", true},
		{"broker/server.go", "internal/admin", true},
		{"internal/app/app.go", "internal/kafkatest", true},
		{"internal/app/app.go", "cmd/penstock", true},
		{"internal/message/id.go", "internal/problem", true},
		{"internal/journal/frame.go", "broker/packet", true},
		{"internal/journal/frame_test.go", "rules", true},
		{"broker/packet/publish.go", "internal/message", true},
		{"broker/topic/tree_test.go", "bridges/bridgetest", true},
		{"bridges/bridges.go", "bridges/kafka", true},
		{"internal/kafkatest/broker.go", "bridges/kafka", true},
		{"internal/elsewhere/x.go", "internal/message", true},
		{"rules/match.go", "internal/elsewhere", true},
	}
	for _, c := range cases {
		text := fmt.Sprintf("package x\n\nimport _ %q\n", module+"/"+c.imports)
		bad := badImports(t, sources(t, tree(c.file, text)))
		if (len(bad) > 0) != c.wrong {
			t.Errorf("%s imports %s: wrong is %t, found %q", c.file, c.imports, c.wrong, bad)
		}
	}
}

// Names that say nothing about what is inside.
func TestFoldersAreNamedForWhatTheyHold(t *testing.T) {
	empty := []string{"util", "utils", "common", "pkg", "types", "helpers", "misc", "lib", "shared", "base"}
	for _, s := range sources(t, root()) {
		for name := range strings.SplitSeq(s.folder(), "/") {
			if slices.Contains(empty, name) {
				t.Errorf("%s: a folder named %s", s.folder(), name)
			}
		}
	}
}
