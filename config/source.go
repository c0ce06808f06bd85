package config

import (
	"bytes"
	"regexp"
	"slices"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/penstock/penstock/internal/problem"
)

// A file beyond these bounds is refused before it is parsed.
const (
	maxFileBytes = 16 << 20
	maxDepth     = 64 // maps and lists within one another
)

// placeholder stands for a character of a text that YAML could not read, so
// that the rest of the file can be read all the same. It is a Unicode
// noncharacter, which no file may hold.
const placeholder = '\ufdd0'

// A source is one file: its text with LF line ends and no byte order mark, and
// where its lines begin. Offsets are bytes of text.
type source struct {
	name    string // as the user named it
	dir     string // absolute; relative paths of the file begin here
	text    string
	lines   []int    // offset of each line's beginning
	secrets [][2]int // ranges of text that no complaint shows
	patched *source  // what the parser read, with placeholders; nil: text
}

// newSource makes a file's bytes readable. With problems it holds nothing.
func newSource(name, dir string, raw []byte) (*source, problem.List) {
	s := &source{name: name, dir: dir, lines: []int{0}}
	if len(raw) > maxFileBytes {
		return s, problem.List{{File: name, Message: "the file is larger than 16 MiB"}}
	}
	raw = bytes.TrimPrefix(raw, []byte("\ufeff"))
	text := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(raw))
	s.setText(strings.ToValidUTF8(text, string(utf8.RuneError)))
	if at := strings.IndexFunc(s.text, forbidden); at >= 0 {
		p := s.problem(at, "this character cannot be part of a YAML file").WithHint("save the file as UTF-8 text")
		s.setText("")
		return s, problem.List{p}
	}
	return s, nil
}

// forbidden says which characters YAML does not allow, and which are used here
// as placeholders.
func forbidden(r rune) bool {
	return unicode.IsControl(r) && r != '\t' && r != '\n' && r != '\u0085' || r == placeholder || r == utf8.RuneError
}

func (s *source) setText(text string) {
	s.text, s.lines = text, s.lines[:1]
	for i := range len(text) {
		if text[i] == '\n' {
			s.lines = append(s.lines, i+1)
		}
	}
}

// patch notes what the parser reads instead of text; every character keeps its
// line and column.
func (s *source) patch(text string) string {
	s.patched = &source{lines: []int{0}}
	s.patched.setText(text)
	return text
}

// lineOf returns the index of the line that holds the offset.
func (s *source) lineOf(offset int) int {
	return sort.Search(len(s.lines), func(i int) bool { return s.lines[i] > offset }) - 1
}

// line returns the text of the line with an index, without its end.
func (s *source) line(i int) string {
	end := len(s.text)
	if i+1 < len(s.lines) {
		end = s.lines[i+1] - 1
	}
	return s.text[s.lines[i]:end]
}

// at returns line and column, counted from 1, columns in characters.
func (s *source) at(offset int) (line, column int) {
	offset = min(max(offset, 0), len(s.text))
	i := s.lineOf(offset)
	return i + 1, utf8.RuneCountInString(s.text[s.lines[i]:offset]) + 1
}

// offset is the inverse of at. What lies beyond a line's end is its end.
func (s *source) offset(line, column int) int {
	line = min(max(line, 1), len(s.lines))
	start, text := s.lines[line-1], s.line(line-1)
	for i := range text {
		if column--; column < 1 {
			return start + i
		}
	}
	return start + len(text)
}

// problem returns a complaint about what is at the offset.
func (s *source) problem(offset int, message string) problem.Problem {
	return s.place(problem.Problem{Message: message}, offset)
}

// place gives p its place. Secrets in the line are masked.
func (s *source) place(p problem.Problem, offset int) problem.Problem {
	p.File = s.name
	p.Line, p.Column = s.at(offset)
	p.Snippet, p.Caret = s.snippet(p.Line-1, p.Column)
	return p
}

// hide keeps a range of the text out of every complaint.
func (s *source) hide(from, to int) { s.secrets = append(s.secrets, [2]int{from, max(from, to)}) }

// mask is what is shown for a secret, whatever its length.
const mask = "***"

// password finds the value of a password where the file could not be parsed.
func password() *regexp.Regexp {
	return regexp.MustCompile(`(?i)password["']?[ \t]*:[ \t]*("(?:[^"\\]|\\.)*"?|'(?:[^']|'')*'?|[^,}\s][^,}]*)`)
}

// snippet returns a line as complaints show it, and where the caret of column
// goes if not there.
func (s *source) snippet(i, column int) (string, int) {
	line, start := s.line(i), s.lines[i]
	if hidden := s.hidden(line, start); len(hidden) > 0 {
		return maskLine(line, hidden, s.offset(i+1, column)-start)
	}
	return line, 0
}

// hidden returns the secret ranges of a line, in order and relative to it.
func (s *source) hidden(line string, start int) [][2]int {
	var found [][2]int
	for _, r := range s.secrets {
		if from, to := max(r[0]-start, 0), min(r[1]-start, len(line)); from < to {
			found = append(found, [2]int{from, to})
		}
	}
	for _, m := range password().FindAllStringSubmatchIndex(line, -1) {
		found = append(found, [2]int{m[2], m[3]})
	}
	slices.SortFunc(found, func(a, b [2]int) int { return a[0] - b[0] })
	return found
}

// maskLine replaces the ranges; the caret is the column of the byte at after
// that.
func maskLine(line string, ranges [][2]int, at int) (masked string, caret int) {
	var b strings.Builder
	done := 0
	column := func() { caret = utf8.RuneCountInString(b.String()) + 1 }
	for _, r := range append(ranges, [2]int{len(line), len(line)}) {
		if r[0] > done {
			if done <= at && at < r[0] {
				column()
				caret += utf8.RuneCountInString(line[done:at])
			}
			b.WriteString(line[done:r[0]])
			done = r[0]
		}
		if r[1] > done {
			if done <= at && at < r[1] {
				column()
			}
			b.WriteString(mask)
			done = r[1]
		}
	}
	if at >= len(line) {
		column()
	}
	return b.String(), caret
}
