package journal

import (
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/penstock/penstock/internal/message"
)

// A Damage is a place of a segment that cannot be read.
type Damage struct {
	File     string // name in the journal's folder
	From, To int64  // bytes of the file
	// First and Last are the offsets that may be missing; First is above Last
	// when none is.
	First, Last uint64
	Reason      string
}

// What is wrong with a place.
const (
	reasonChecksum = "no valid frame"
	reasonContent  = "frame not understood"
	reasonOrder    = "offset out of order"
)

// damageOf makes Damage of what a scan of a segment found bad, of which it
// tells what is at or below the offset to: what is above may be the torn tail,
// or be written just now.
func damageOf(s *segment, to uint64, tell func(Damage)) func(from, end int64, last uint64, next *item) {
	return func(from, end int64, last uint64, next *item) {
		if last+1 > to {
			return
		}
		upTo := min(to, s.limit.Load()-1)
		if next != nil {
			upTo = min(upTo, next.first-1)
		}
		tell(Damage{File: s.name(), From: from, To: end, First: last + 1, Last: upTo, Reason: reasonChecksum})
	}
}

// SegmentState says what a segment is to the journal.
type SegmentState string

// The states of a segment.
const (
	SegmentSealed SegmentState = "sealed" // nothing is added to it any more
	SegmentActive SegmentState = "active" // the newest, being written or left by a crash
	SegmentVoid   SegmentState = "void"   // all that is in it was moved to another one (C4)
	// SegmentRewritten is sealed, and left out what nobody was owed (C6).
	SegmentRewritten SegmentState = "rewritten"
)

// A SegmentInfo describes one segment of an archive.
type SegmentInfo struct {
	File   string // name in the journal's folder
	State  SegmentState
	Base   uint64 // the first offset it may hold
	Serial uint64 // order of creation
	// Generation is how often it was written anew without what nobody is owed
	// any more (C6).
	Generation uint32
	Bytes      int64
	Frames     int64 // entries, the segment's own state aside
	Messages   int64
	// First and Last are the offsets of its first and last entry, 0 when there
	// is none; the times are those of its first and last message.
	First, Last         uint64
	FirstTime, LastTime time.Time
	Damage              []Damage
}

// Segments reads the whole journal and describes its segments, in order.
func (a *Archive) Segments() ([]SegmentInfo, error) {
	list := a.list
	infos := make([]SegmentInfo, 0, len(list))
	for i, s := range list {
		info, err := a.info(s, i == len(list)-1)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return infos, err
		}
		infos = append(infos, info)
	}
	return infos, nil
}

// Verify reads and decodes everything that is certain and returns what is
// damaged. It writes nothing.
func (a *Archive) Verify() ([]Damage, error) {
	infos, err := a.Segments()
	var all []Damage
	for i := range infos {
		all = append(all, infos[i].Damage...)
	}
	return all, err
}

func (a *Archive) info(s *segment, last bool) (SegmentInfo, error) {
	in := inspection{info: SegmentInfo{
		File: filepath.Base(s.path), State: SegmentSealed, Base: s.base, Serial: s.serial,
		Generation: s.generation, Bytes: s.end.Load(),
	}}
	switch {
	case last && !a.closed:
		in.info.State = SegmentActive
	case s.limit.Load() <= s.base:
		in.info.State = SegmentVoid
	case s.generation > 0:
		in.info.State = SegmentRewritten
	}
	err := a.walk(s, a.certain, walker{frame: in.frame, bad: func(d Damage) { in.info.Damage = append(in.info.Damage, d) }})
	return in.info, err
}

// inspection is the look at one segment's frames.
type inspection struct {
	info    SegmentInfo
	message message.Message
}

func (i *inspection) frame(b []byte) error {
	if !i.understood(b) {
		i.bad(b, reasonContent)
	}
	if lone(frameKind(b)) {
		return nil
	}
	o := frameOffset(b)
	if i.info.Frames > 0 && o <= i.info.Last {
		i.bad(b, reasonOrder)
	}
	if i.info.Frames == 0 {
		i.info.First = o
	}
	i.info.Frames++
	i.info.Last = max(i.info.Last, o)
	if frameKind(b) == kindMessage {
		i.info.Messages++
		i.info.LastTime = time.UnixMilli(i.message.Received)
		if i.info.FirstTime.IsZero() {
			i.info.FirstTime = i.info.LastTime
		}
	}
	return nil
}

// understood reports whether a frame's content is sound, whose checksum is.
func (i *inspection) understood(b []byte) bool {
	if frameKind(b) == kindMessage {
		return Frame{b: b}.Message(&i.message) == nil
	}
	if frameKind(b) == kindFooter {
		_, err := decodeFacts(b[frameHead:])
		return err == nil
	}
	return newState().apply(b) == nil
}

// bad notes a frame. Its place in the file is not known: it is named by its
// offset.
func (i *inspection) bad(b []byte, reason string) {
	o := frameOffset(b)
	i.info.Damage = append(i.info.Damage, Damage{File: i.info.File, First: o, Last: o, Reason: reason})
}
