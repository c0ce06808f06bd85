package inspect

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/penstock/penstock/internal/linefile"
)

// definitionsName is the file in the journal's folder that says what rules
// said, and from which offset on: a line for each time it changed.
const definitionsName = "rules.jsonl"

// definitionsKept is how many definitions of one rule are kept.
const definitionsKept = 16

// A Definition is what a rule says from an offset on.
type Definition struct {
	Rule uint32          `json:"rule"` // its number
	From uint64          `json:"from"`
	Body json.RawMessage `json:"definition"`
}

// readDefinitions returns the definitions in a journal's folder by rule, oldest
// first. A line that cannot be read is passed over: a replay then compares
// with less.
func readDefinitions(dir string) (map[uint32][]Definition, error) {
	text, err := os.ReadFile(filepath.Join(dir, definitionsName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	known := map[uint32][]Definition{}
	for line := range bytes.Lines(text) {
		var d Definition
		if json.Unmarshal(line, &d) == nil && d.Rule > 0 {
			known[d.Rule] = append(known[d.Rule], d)
		}
	}
	for rule, list := range known {
		slices.SortStableFunc(list, func(a, b Definition) int { return int(int64(a.From) - int64(b.From)) })
		known[rule] = list[max(0, len(list)-definitionsKept):]
	}
	return known, nil
}

// Define notes what rules say from now on, where that is not what they said
// before. The file is made anew when half of it is out of date.
func Define(dir string, now []Definition) error {
	known, err := readDefinitions(dir)
	if err != nil {
		return fmt.Errorf("read what rules said: %w", err)
	}
	var lines bytes.Buffer
	e := json.NewEncoder(&lines)
	e.SetEscapeHTML(false)
	for _, d := range now {
		list := known[d.Rule]
		if n := len(list); n > 0 && bytes.Equal(list[n-1].Body, d.Body) {
			continue
		}
		if err := e.Encode(d); err != nil {
			return fmt.Errorf("encode what a rule says: %w", err)
		}
		known[d.Rule] = append(list, d)
	}
	if lines.Len() == 0 {
		return nil
	}
	path := filepath.Join(dir, definitionsName)
	if err := appendLines(path, lines.Bytes()); err != nil {
		return fmt.Errorf("note what rules say: %w", err)
	}
	return prune(path, known)
}

// prune makes the file anew, aside, when it is more than twice what is kept.
func prune(path string, known map[uint32][]Definition) error {
	var kept bytes.Buffer
	e := json.NewEncoder(&kept)
	e.SetEscapeHTML(false)
	for _, rule := range slices.Sorted(maps.Keys(known)) {
		for _, d := range known[rule][max(0, len(known[rule])-definitionsKept):] {
			if err := e.Encode(d); err != nil {
				return err
			}
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() <= 2*int64(kept.Len()) {
		return err
	}
	aside := path + ".new"
	if err := os.Remove(aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := appendLines(aside, kept.Bytes()); err != nil {
		return err
	}
	return os.Rename(aside, path)
}

func appendLines(path string, lines []byte) error {
	f, err := linefile.Open(path, linefile.Options{})
	if err != nil {
		return err
	}
	return errors.Join(f.Append(lines), f.Close())
}
