package deadletter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
)

// sumBytes is the length of a line's end, `,"crc":"01234567"}`.
const sumBytes = len(`,"crc":"01234567"}`)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)

	errLine = errors.New("line is not what was written")
)

// appendLine appends v as a line with its checksum. v is an object with at
// least one key.
func appendLine(dst *bytes.Buffer, v any) error {
	start := dst.Len()
	enc := json.NewEncoder(dst)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		dst.Truncate(start)
		return fmt.Errorf("encode dead letter: %w", err)
	}
	dst.Truncate(dst.Len() - len("}\n"))
	fmt.Fprintf(dst, ",\"crc\":\"%08x\"}\n", crc32.Checksum(dst.Bytes()[start:], castagnoli))
	return nil
}

// intact reports whether a line, without its newline, is what was written.
func intact(line []byte) bool {
	n := len(line) - sumBytes
	if n < 1 {
		return false
	}
	end := line[n:]
	if string(end[:8]) != `,"crc":"` || string(end[16:]) != `"}` {
		return false
	}
	sum, err := strconv.ParseUint(string(end[8:16]), 16, 32)
	return err == nil && uint32(sum) == crc32.Checksum(line[:n], castagnoli)
}

// decodeLetter reads a letter's line, without its newline.
func decodeLetter(line []byte) (Letter, error) {
	var l Letter
	if !intact(line) {
		return l, errLine
	}
	if err := json.Unmarshal(line, &l); err != nil {
		return Letter{}, fmt.Errorf("decode dead letter: %w", err)
	}
	return l, nil
}

// A head is what the index keeps of a letter.
type head struct {
	Seq  uint64 `json:"seq"`
	Kind Kind   `json:"kind"`
	Rule string `json:"rule"`
	Sink string `json:"sink"`

	id []byte // valid as long as the line
}

// names keeps the texts that most lines share, so that reading a line makes
// none of them anew.
type names map[string]string

// maxNames bounds them: there are as many as rules and sinks.
const maxNames = 1 << 16

func (n names) of(b []byte) string {
	if text, ok := n[string(b)]; ok {
		return text
	}
	text := string(b)
	if len(n) < maxNames {
		n[text] = text
	}
	return text
}

// parseHead reads the head of an intact line, which begins with it, so that
// opening does not decode whole letters.
func parseHead(line []byte, known names) (h head, err error) {
	p := headParser{rest: line, ok: true}
	p.skip(`{"seq":`)
	h.Seq = p.number()
	p.skip(`,"kind":`)
	h.Kind = Kind(known.of(p.text()))
	p.skip(`,"rule":`)
	h.Rule = known.of(p.text())
	p.skip(`,"sink":`)
	h.Sink = known.of(p.text())
	p.skip(`,"id":`)
	h.id = p.text()
	if p.ok {
		return h, nil
	}
	var whole struct {
		head
		ID string `json:"id"`
	}
	if err := json.Unmarshal(line, &whole); err != nil {
		return head{}, fmt.Errorf("decode dead letter: %w", err)
	}
	h = whole.head
	h.id = []byte(whole.ID)
	return h, nil
}

// A headParser takes apart what appendLine wrote; texts with escapes are left
// to package json.
type headParser struct {
	rest []byte
	ok   bool
}

func (p *headParser) skip(text string) {
	rest, ok := bytes.CutPrefix(p.rest, []byte(text))
	p.rest, p.ok = rest, p.ok && ok
}

func (p *headParser) number() uint64 {
	n := bytes.IndexByte(p.rest, ',')
	if !p.ok || n < 0 {
		p.ok = false
		return 0
	}
	v, err := strconv.ParseUint(string(p.rest[:n]), 10, 64)
	p.rest, p.ok = p.rest[n:], err == nil
	return v
}

func (p *headParser) text() []byte {
	if !p.ok || len(p.rest) == 0 || p.rest[0] != '"' {
		p.ok = false
		return nil
	}
	n := bytes.IndexAny(p.rest[1:], `"\`)
	if n < 0 || p.rest[1+n] == '\\' {
		p.ok = false
		return nil
	}
	text := p.rest[1 : 1+n]
	p.rest = p.rest[n+2:]
	return text
}

// lineStart is how every line of a letter begins. It cannot occur inside one,
// where quotation marks are escaped.
const lineStart = `{"seq":`

// salvage finds whole letters in a line that is not intact: where a newline
// or what was before it is gone, a letter may be whole. It calls see with the
// place of each.
func salvage(line []byte, see func(from, to int)) {
	for from := bytes.Index(line, []byte(lineStart)); from >= 0; {
		to := len(line)
		next := bytes.Index(line[from+1:], []byte(lineStart))
		if next >= 0 {
			next += from + 1
			to = next
		}
		switch {
		case intact(line[from:to]):
			see(from, to)
		case to > from && intact(line[from:to-1]): // the newline is another byte now
			see(from, to-1)
		}
		from = next
	}
}
