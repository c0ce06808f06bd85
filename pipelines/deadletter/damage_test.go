package deadletter_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/penstock/penstock/pipelines/deadletter"
)

// Damage in the middle costs the letters that are damaged, which are set aside,
// counted and logged once (I4).
func TestDamage(t *testing.T) {
	for name, damage := range map[string]struct {
		hit  func(b []byte, lines []int) // where each line begins
		lost []int                       // letters
	}{
		"a bit in a payload":  {func(b []byte, at []int) { b[at[5]-40] ^= 1 }, []int{5}},
		"a newline":           {func(b []byte, at []int) { b[at[5]-1] ^= 1 }, nil},
		"zeros over a border": {func(b []byte, at []int) { clear(b[at[5]-30 : at[5]+30]) }, []int{5, 6}},
		"the first byte":      {func(b []byte, at []int) { b[0] ^= 1 }, []int{1}},
		"a newline too many":  {func(b []byte, at []int) { b[at[7]-40] = '\n' }, []int{7}},
	} {
		t.Run(name, func(t *testing.T) {
			folder := filepath.Join(t.TempDir(), "dead-letters")
			var log bytes.Buffer
			o := deadletter.Options{Dir: folder, Log: slog.New(slog.NewTextHandler(&log, nil))}
			s := must[*deadletter.Store](t)(deadletter.Open(o))
			for n := range 10 {
				add(t, s, refused(n+1))
			}
			s.Close()
			path := filepath.Join(folder, "refused-00000000000000000001-1.jsonl")
			b := must[[]byte](t)(os.ReadFile(path))
			at := []int{0}
			for i, c := range b {
				if c == '\n' {
					at = append(at, i+1)
				}
			}
			damage.hit(b, at)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			var left []string
			for n := 1; n <= 10; n++ {
				if !slices.Contains(damage.lost, n) {
					left = append(left, fmt.Sprint("refused ", n))
				}
			}
			v := must[*deadletter.View](t)(deadletter.OpenReadOnly(folder, nil))
			want(t, "seen", list(t, v, deadletter.Filter{}), left)
			v.Close()
			s = must[*deadletter.Store](t)(deadletter.Open(o))
			want(t, "left", list(t, s, deadletter.Filter{}), left)
			if s.Stats().Damaged == 0 || !strings.Contains(log.String(), "set aside") {
				t.Errorf("not told: %d, %s", s.Stats().Damaged, log.String())
			}
			aside := must[[]byte](t)(os.ReadFile(filepath.Join(folder, "damaged.aside")))
			add(t, s, refused(11))
			s.Close()
			s = must[*deadletter.Store](t)(deadletter.Open(o))
			want(t, "told once", s.Stats().Damaged, uint64(0))
			want(t, "left", list(t, s, deadletter.Filter{}), append(left, "refused 11"))
			s.Close()
			again := must[[]byte](t)(os.ReadFile(filepath.Join(folder, "damaged.aside")))
			want(t, "aside", again, aside)
		})
	}
}

// The torn end of an append nobody was told about is cut.
func TestTornEnd(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "dead-letters")
	s := must[*deadletter.Store](t)(deadletter.Open(deadletter.Options{Dir: folder}))
	add(t, s, refused(1), refused(2))
	s.Close()
	path := filepath.Join(folder, "refused-00000000000000000001-1.jsonl")
	b := must[[]byte](t)(os.ReadFile(path))
	if err := os.WriteFile(path, b[:len(b)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	s = must[*deadletter.Store](t)(deadletter.Open(deadletter.Options{Dir: folder}))
	defer s.Close()
	want(t, "left", list(t, s, deadletter.Filter{}), []string{"refused 1"})
	want(t, "damaged", s.Stats().Damaged, uint64(0))
	add(t, s, refused(3))
	want(t, "left", list(t, s, deadletter.Filter{}), []string{"refused 1", "refused 3"})
}
