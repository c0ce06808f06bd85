package app

import (
	"fmt"

	"github.com/penstock/penstock/internal/admin"
)

// health says how Penstock is: broken is what somebody must look at, ready is
// whether every lane works.
func (a *App) health() admin.Health {
	s := a.Status()
	h := admin.Health{Ready: s.Ready, Broken: append([]string{}, s.Broken...)} // JSON: [], not null
	h.Parts = append(h.Parts, journalPart(&s.Journal))
	for i := range s.Lanes {
		h.Parts = append(h.Parts, lanePart(&s.Lanes[i]))
	}
	return h
}

func journalPart(j *JournalStatus) admin.Part {
	p := admin.Part{Name: "journal", Ready: !j.Full && !j.Failing}
	switch {
	case j.Failing:
		p.Reason = "the disk takes nothing: " + j.LastError
	case j.Full:
		p.Reason = fmt.Sprintf("full: %d of %d bytes", j.Bytes, j.MaxBytes)
	}
	return p
}

func lanePart(l *LaneStatus) admin.Part {
	p := admin.Part{Name: "lane " + l.Name, Ready: l.works()}
	if !p.Ready {
		p.Reason = l.State
		if l.Reason != "" {
			p.Reason += ": " + l.Reason
		}
	}
	return p
}

// works reports whether the lane delivers, or would if there were something.
func (l *LaneStatus) works() bool { return l.State == "running" && !l.Full }

// broken says what of a status somebody must look at; "" is nothing. A sink
// that is away is not: it comes back by itself.
func (s *Status) broken() []string {
	var list []string
	if s.Journal.Failing {
		list = append(list, "journal: the disk takes nothing: "+s.Journal.LastError)
	}
	for i := range s.Lanes {
		switch l := &s.Lanes[i]; l.State {
		case "stopped", "stalled", "blocked":
			list = append(list, fmt.Sprintf("lane %s %s: %s", l.Name, l.State, l.Reason))
		}
	}
	return list
}

// ready reports whether all works.
func (s *Status) ready() bool {
	if s.Journal.Full || s.Journal.Failing {
		return false
	}
	for i := range s.Lanes {
		if !s.Lanes[i].works() {
			return false
		}
	}
	return true
}
