package house_test

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/penstock/penstock/config"
)

// A page is one Markdown file.
type page struct {
	path, text string
}

func pages(t *testing.T, tree fs.FS) []page {
	t.Helper()
	var all []page
	for _, name := range files(t, tree, ".md") {
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page{path: name, text: string(text)})
	}
	return all
}

var (
	makeCommand = regexp.MustCompile("(?m)(?:^|`|&& )(?:[A-Z]+=\\S+ )*make ([a-z-]+)")
	makeTarget  = regexp.MustCompile(`(?m)^([a-z-]+):`)
	yamlBlock   = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")
	link        = regexp.MustCompile(`\]\(([^)\s]+)\)`)
)

// A page that names a command names one that exists.
func TestCommandsOfPagesExist(t *testing.T) {
	makefile, err := fs.ReadFile(root(), "Makefile")
	if err != nil {
		t.Fatal(err)
	}
	var targets []string
	for _, m := range makeTarget.FindAllStringSubmatch(string(makefile), -1) {
		targets = append(targets, m[1])
	}
	named := 0
	for _, p := range pages(t, root()) {
		for _, m := range makeCommand.FindAllStringSubmatch(p.text, -1) {
			named++
			if !slices.Contains(targets, m[1]) {
				t.Errorf("%s: no such target: make %s", p.path, m[1])
			}
		}
	}
	if named < 5 {
		t.Errorf("found only %d commands: the expression misses them", named)
	}
}

// A link to a file of ours leads to one.
func TestLinksOfPagesLead(t *testing.T) {
	found := 0
	for _, p := range pages(t, root()) {
		for _, m := range link.FindAllStringSubmatch(p.text, -1) {
			target, _, _ := strings.Cut(m[1], "#")
			if target == "" || strings.Contains(target, "://") {
				continue
			}
			found++
			name := path.Join(path.Dir(p.path), target)
			if _, err := fs.Stat(root(), name); err != nil {
				t.Errorf("%s: link to %s: %v", p.path, target, err)
			}
		}
	}
	if found == 0 {
		t.Error("found no link: the expression misses them")
	}
}

// A YAML block of a page is a whole configuration that Penstock accepts without
// a warning, in a folder with the files that the pages name and with the
// variables of a service under systemd.
func TestConfigurationsOfPagesAreAccepted(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "users.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	environment := []string{"CREDENTIALS_DIRECTORY=" + folder}
	found := 0
	for _, p := range pages(t, root()) {
		for _, m := range yamlBlock.FindAllStringSubmatchIndex(p.text, -1) {
			found++
			// Empty lines in front make a complaint name the page's own line.
			lines := strings.Count(p.text[:m[2]], "\n")
			text := strings.Repeat("\n", lines) + p.text[m[2]:m[3]]
			loaded, err := config.Parse(filepath.Join(folder, path.Base(p.path)), []byte(text), environment)
			if err != nil {
				t.Errorf("%s: %v", p.path, err)
			} else if len(loaded.Warnings) > 0 {
				t.Errorf("%s: %v", p.path, loaded.Warnings)
			}
		}
	}
	if found < 2 {
		t.Errorf("found only %d blocks: the expression misses them", found)
	}
}
