package config

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/penstock/penstock/internal/problem"
)

// A rawFile is one configuration file as it was read.
type rawFile struct {
	name string // as the user named it
	raw  []byte
}

// readFiles reads the files and, of folders, the *.yaml and *.yml in name
// order, not recursively; hidden files, as editors leave them, are no part of
// a folder. The error is one of the file system; the problem is a file or
// folder that makes no sense.
func readFiles(paths []string) (files []rawFile, problems problem.List, err error) {
	var seen []fs.FileInfo
	for _, path := range paths {
		names, err := filesAt(path)
		if err != nil {
			return nil, nil, err
		}
		for _, name := range names {
			info, raw, err := readFile(name)
			if err != nil {
				return nil, nil, err
			}
			if twice(seen, info) {
				problems = append(problems, problem.Problem{File: name, Message: "the file is named twice", Hint: "name each file once; a folder stands for all its files"})
				continue
			}
			seen = append(seen, info)
			files = append(files, rawFile{name, raw})
		}
	}
	if len(files) == 0 && len(paths) > 0 {
		problems = append(problems, problem.Problem{File: strings.Join(paths, " "), Message: "no *.yaml or *.yml file is here"})
	}
	return files, problems, nil
}

func twice(seen []fs.FileInfo, info fs.FileInfo) bool {
	for _, s := range seen {
		if os.SameFile(s, info) {
			return true
		}
	}
	return false
}

func readFile(name string) (fs.FileInfo, []byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, nil, fmt.Errorf("read configuration: %w", err)
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		return nil, nil, fmt.Errorf("read configuration: %w", err)
	}
	return info, raw, nil
}

// filesAt returns the files that a path stands for.
func filesAt(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path) // sorted by name
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	var names []string
	for _, e := range entries {
		ext := filepath.Ext(e.Name())
		if (ext == ".yaml" || ext == ".yml") && e.Name()[0] != '.' && !e.IsDir() {
			names = append(names, filepath.Join(path, e.Name()))
		}
	}
	return names, nil
}
