package auth

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// A line of a users file; user is "" for a comment or an empty line.
type line struct {
	user, hash string
	text       string
}

func parseLine(text string) (line, error) {
	l := line{text: text}
	trimmed := strings.TrimSpace(text)
	if trimmed == "" || trimmed[0] == '#' {
		return l, nil
	}
	user, hash, ok := strings.Cut(trimmed, ":")
	if !ok {
		return l, errors.New("there is no ':' between name and hash")
	}
	if err := CheckUser(user); err != nil {
		return l, err
	}
	l.user, l.hash = user, hash
	return l, nil
}

// CheckUser reports why a users file cannot hold this name.
func CheckUser(user string) error {
	switch {
	case user == "":
		return errors.New("the user name is empty")
	case user[0] == '#':
		return errors.New("a user name may not begin with '#'")
	case strings.ContainsAny(user, ":\r\n\x00"):
		return errors.New("a user name may not hold ':', a line break or NUL")
	case strings.TrimSpace(user) != user:
		return errors.New("a user name may not begin or end with white space")
	case !utf8.ValidString(user):
		return errors.New("the user name is not UTF-8")
	}
	return nil
}

// parseUsers reads a users file's text. The error joins every bad line's, each
// with its number.
func parseUsers(text []byte) (map[string]verifier, error) {
	users := map[string]verifier{}
	var errs []error
	for i, t := range strings.Split(string(text), "\n") {
		l, err := parseLine(t)
		if err == nil && l.user != "" {
			err = addUser(users, l)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", i+1, err))
		}
	}
	return users, errors.Join(errs...)
}

func addUser(users map[string]verifier, l line) error {
	if _, twice := users[l.user]; twice {
		return fmt.Errorf("user %q is there twice", l.user)
	}
	h, err := parseHash(l.hash)
	if err != nil {
		return fmt.Errorf("user %q: %w", l.user, err)
	}
	users[l.user] = h
	return nil
}

// load reads the users file. Its version is taken before its text: a change in
// between is seen the next time.
func load(path string) (map[string]verifier, fileVersion, error) {
	version, err := stat(path)
	if err != nil {
		return nil, version, fmt.Errorf("read users file: %w", err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, version, fmt.Errorf("read users file: %w", err)
	}
	users, err := parseUsers(text)
	if err != nil {
		return nil, version, fmt.Errorf("read users file %s: %w", path, err)
	}
	return users, version, nil
}

// SetUser adds the user to the users file or replaces its password's hash. A
// missing file is created with mode 0600. Other lines stay as they are.
func SetUser(path, user, hash string) error {
	if err := CheckUser(user); err != nil {
		return fmt.Errorf("set user: %w", err)
	}
	if _, err := parseHash(hash); err != nil {
		return fmt.Errorf("set user %q: %w", user, err)
	}
	lines, err := readLines(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("set user %q: %w", user, err)
	}
	entry := user + ":" + hash
	i := find(lines, user)
	if i < 0 {
		lines = append(lines, entry)
	} else {
		lines[i] = entry
	}
	return writeLines(path, lines)
}

// DeleteUser removes the user from the users file; found is false, and the
// file untouched, when it has no such user.
func DeleteUser(path, user string) (found bool, err error) {
	lines, err := readLines(path)
	if err != nil {
		return false, fmt.Errorf("delete user %q: %w", user, err)
	}
	i := find(lines, user)
	if i < 0 {
		return false, nil
	}
	return true, writeLines(path, append(lines[:i], lines[i+1:]...))
}

func readLines(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	text = bytes.TrimRight(text, "\n")
	if len(text) == 0 {
		return nil, nil
	}
	return strings.Split(string(text), "\n"), nil
}

func find(lines []string, user string) int {
	for i, t := range lines {
		if l, err := parseLine(t); err == nil && l.user == user && user != "" {
			return i
		}
	}
	return -1
}

// writeLines puts a whole new file in the place of the old one, so that a
// reader or a power cut meets either the one or the other.
func writeLines(path string, lines []string) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // replace the file, not the link to it
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".users-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write users file: %w", err)
	}
	text := strings.Join(lines, "\n")
	if text != "" {
		text += "\n"
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("write users file: %w", err)
	}
	return nil
}
