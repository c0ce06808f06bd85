package journal_test

import (
	"errors"
	"io/fs"

	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
)

// checkArchive looks at what a crash left without opening it: only what was
// given out is shown, of what some later entry vouches for nothing is missing,
// and a crash alone damages nothing.
func (h *history) checkArchive(p photo, opened map[name]string) {
	a, err := journal.OpenArchive(dir, p.fs)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		h.t.Fatalf("after %v: open archive: %v", p.after, err)
	}
	if bad, err := a.Verify(); err != nil || len(bad) > 0 {
		h.t.Fatalf("after %v: archive: %+v, %v", p.after, bad, err)
	}
	got := h.readArchive(a)
	for n, s := range got {
		if was, ok := h.given[n]; !ok || was != s {
			h.t.Fatalf("after %v: the archive shows %v %q, was %q", p.after, n, s, was)
		}
	}
	for n := range opened {
		if _, ok := got[n]; !ok && n.offset <= a.Stored() {
			h.t.Fatalf("after %v: the archive up to %d misses %v", p.after, a.Stored(), n)
		}
	}
}

func (h *history) readArchive(a *journal.Archive) map[name]string {
	got := map[name]string{}
	r := a.Reader(1)
	defer r.Close()
	for {
		f, ok, err := r.Next()
		if err != nil {
			h.t.Fatalf("read archive: %v", err)
		}
		if !ok {
			return got
		}
		var m message.Message
		if f.Kind() == journal.KindMessage && f.Message(&m) == nil {
			got[name{f.Epoch(), f.Offset()}] = string(m.Payload)
		}
	}
}
