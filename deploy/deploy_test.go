// Package deploy_test checks the files that put Penstock on a machine with the
// programs that will read them there.
package deploy_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// unit returns the path of a copy of penstock.service whose programs exist on
// this machine, with edit applied: systemd-analyze wants them to be executable.
func unit(t *testing.T, edit func(string) string) string {
	t.Helper()
	copied := strings.Replace(read(t, "penstock.service"), "ExecStart=/usr/bin/penstock", "ExecStart=/bin/true", 1)
	path := filepath.Join(t.TempDir(), "penstock.service")
	if err := os.WriteFile(path, []byte(edit(copied)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func unchanged(s string) string { return s }

// verify runs systemd-analyze verify, which prints what it finds and exits 0
// for most of it.
func verify(t *testing.T, path string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", path).CombinedOutput()
	if err != nil {
		return string(out) + err.Error()
	}
	return string(out)
}

func TestUnitIsValid(t *testing.T) {
	if found := verify(t, unit(t, unchanged)); found != "" {
		t.Errorf("systemd-analyze verify penstock.service:\n%s", found)
	}
}

func TestVerifyFindsMistakes(t *testing.T) {
	mistakes := map[string]string{
		"an unknown key":   "NoNewPrivilege=yes",
		"a wrong type":     "Type=notifies",
		"an unknown group": "SystemCallFilter=@services",
	}
	for name, line := range mistakes {
		broken := unit(t, func(s string) string { return strings.Replace(s, "[Install]", line+"\n[Install]", 1) })
		if verify(t, broken) == "" {
			t.Errorf("%s was not found: %s", name, line)
		}
	}
}

// Exposure is systemd's own score, from 0 (none) to 10; the threshold is in
// tenths.
func TestUnitIsHardened(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", "security",
		"--offline=true", "--threshold=20", unit(t, unchanged)).CombinedOutput()
	if err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, bytes.TrimSpace(out))
	}
}

// The image and the service run the same command on the same folders, neither
// as root.
func TestImageAndUnitAgree(t *testing.T) {
	image, service := read(t, "Dockerfile"), read(t, "penstock.service")
	same := func(what, a, b string) {
		if a == "" || a != b {
			t.Errorf("%s: %q in the image, %q in the service", what, a, b)
		}
	}
	command := find(t, image, `ENTRYPOINT \[(.*)\]`) + ", " + find(t, image, `CMD \[(.*)\]`)
	same("command", strings.NewReplacer(`"`, "", ",", "").Replace(command), find(t, service, `ExecStart=(.*)`))

	journal := find(t, image, `ENV PENSTOCK__JOURNAL__DIR=(.*)`)
	same("journal", journal, strings.Replace(find(t, service, `Environment=PENSTOCK__JOURNAL__DIR=(.*)`), "%S", "/var/lib", 1))
	same("volume", find(t, image, `VOLUME (.*)`), "/var/lib/"+find(t, service, `StateDirectory=(.*)`))

	if user := find(t, image, `USER (\d+):\d+`); user == "" || user == "0" {
		t.Errorf("the image runs as user %q", user)
	}
	if find(t, service, `DynamicUser=(.*)`) != "yes" {
		t.Error("the service runs as root")
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// find returns the group of the one whole line that matches, "" when none does.
func find(t *testing.T, text, line string) string {
	t.Helper()
	m := regexp.MustCompile("(?m)^" + line + "$").FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	return m[1]
}
