package deadletter_test

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/penstock/penstock/pipelines/deadletter"
)

// BenchmarkAppend adds letters with 200 bytes of payload as a lane does, so
// many with one sync.
func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{1, 256} {
		b.Run(fmt.Sprint("letters=", n), func(b *testing.B) {
			s, err := deadletter.Open(deadletter.Options{Dir: filepath.Join(b.TempDir(), "letters"), MaxBytes: 1 << 40})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			letters := make([]deadletter.Letter, n)
			for i := range letters {
				letters[i] = letter(deadletter.Refused, i, strings.Repeat("x", 200))
			}
			b.ReportAllocs()
			ids := 0
			for b.Loop() {
				for i := range letters {
					ids++
					letters[i].ID = strconv.Itoa(ids)
				}
				if _, err := s.Append(letters); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "letters/s")
		})
	}
}

// fill makes a store of n letters with 200 bytes of payload.
func fill(b *testing.B, n int) string {
	b.Helper()
	folder := filepath.Join(b.TempDir(), "letters")
	s, err := deadletter.Open(deadletter.Options{Dir: folder, MaxBytes: 1 << 40})
	if err != nil {
		b.Fatal(err)
	}
	letters := make([]deadletter.Letter, 1000)
	for k := 0; k < n; k += len(letters) {
		for i := range letters {
			letters[i] = letter(deadletter.Refused, k+i, strings.Repeat("x", 200))
		}
		if _, err := s.Append(letters); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	return folder
}

// BenchmarkOpen opens a store of 500,000 letters.
func BenchmarkOpen(b *testing.B) {
	folder := fill(b, 500_000)
	b.ReportAllocs()
	for b.Loop() {
		s, err := deadletter.Open(deadletter.Options{Dir: folder, MaxBytes: 1 << 40})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(s.Stats().Refused.Bytes), "bytes")
		s.Close()
	}
}

// BenchmarkList reads a store of 100,000 letters.
func BenchmarkList(b *testing.B) {
	s, err := deadletter.Open(deadletter.Options{Dir: fill(b, 100_000), MaxBytes: 1 << 40})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for b.Loop() {
		n := 0
		for _, err := range s.List(deadletter.Filter{}) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != 100_000 {
			b.Fatal(n)
		}
	}
	b.ReportMetric(100_000*float64(b.N)/b.Elapsed().Seconds(), "letters/s")
}
