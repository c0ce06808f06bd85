package crashtest_test

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var selftest = flag.Bool("selftest", false, "plant faults one at a time and see that the model finds each")

// selftestCuts is how many power cuts the model has to find one fault.
const selftestCuts = "3000"

// TestPlantedFaultsFit: each replacement still applies, so that nobody learns
// only at the next selftest that the source has moved.
func TestPlantedFaultsFit(t *testing.T) {
	for _, f := range planted {
		plant(t, f)
	}
}

// TestPlantedFaultsAreFound plants each fault in a copy of its source file
// and has the model fail.
func TestPlantedFaultsAreFound(t *testing.T) {
	if !*selftest {
		t.Skip("make crash-selftest: compiles and runs the model once for each fault")
	}
	if out, err := model(t, "", "200"); err != nil {
		t.Fatalf("without a fault the model fails: %v\n%s", err, out)
	}
	found := regexp.MustCompile(`found after (\d+) power cuts: (.*)`)
	for _, f := range planted {
		out, err := model(t, overlay(t, f), selftestCuts)
		m := found.FindStringSubmatch(out)
		switch {
		case err == nil:
			t.Errorf("%-28s NOT FOUND in %s power cuts", f.name, selftestCuts)
		case m == nil:
			t.Errorf("%-28s failed otherwise:\n%.3000s", f.name, out)
		default:
			t.Logf("%-28s found after %4s power cuts: %.120s", f.name, m[1], m[2])
		}
	}
}

// plant returns the path of a fault's file and its text with the fault.
func plant(t *testing.T, f plantedFault) (path, text string) {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../..", filepath.FromSlash(f.file)))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), f.old); n != 1 {
		t.Fatalf("%s: the text to replace is in %s %d times; it must be there once:\n%s", f.name, f.file, n, f.old)
	}
	return path, strings.Replace(string(b), f.old, f.new, 1)
}

// overlay writes what `go test -overlay` needs to see the fault.
func overlay(t *testing.T, f plantedFault) string {
	t.Helper()
	path, text := plant(t, f)
	dir := t.TempDir()
	with := filepath.Join(dir, filepath.Base(path))
	if err := os.WriteFile(with, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(map[string]map[string]string{"Replace": {path: with}})
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return list
}

// model runs the model's test as a process of its own.
func model(t *testing.T, overlay, cuts string) (string, error) {
	t.Helper()
	args := []string{"test", "-count=1", "-timeout=20m"}
	if overlay != "" {
		args = append(args, "-overlay="+overlay)
	}
	args = append(args, ".", "-run=^TestPowerCuts$", "-cuts="+cuts, "-rapid.nofailfile", "-rapid.shrinktime=1ms")
	out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput()
	return string(out), err
}
