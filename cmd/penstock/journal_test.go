package main_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/app"
)

// The journal can be looked into beside the running process and after it. A
// flipped byte is found, with file and offset, and the process starts on it.
func TestJournalCommands(t *testing.T) {
	p := startPlant(t, replayable)
	p.publish("press", "plant/1", `{"temp": 99}`, `{"temp": 1}`)
	p.publish("other", "plant/2", `{"temp": 98}`)
	p.until("delivery", func(s *app.Status) bool { return rule(s, "out", "hot").Delivered == 2 })
	p.status()
	for _, place := range [][]string{{"--dir", "data"}, {"--config", "plant.yaml"}} {
		at := func(args ...string) []string { return append(append([]string{"journal"}, args...), place...) }
		p.ask(0, at("ls"), `FILE +STATE`, `\.seg +active`)
		p.ask(0, at("ls", "--json"), `"messages":`)
		p.ask(0, at("verify"), "sound up to offset")
	}
	p.stop()
	p.ask(0, []string{"journal", "cat", "--dir", "data"}, `"kind":"message"`, `"kind":"number"`, `"kind":"cursor"`, `"rules":\["hot"\]`)
	for args, n := range map[string]int{
		"--messages": 3, "--topic plant/1": 2, "--client other": 1, "--client other --topic plant/1": 0, "--limit 5": 5, "--from 1000000": 0,
	} {
		out := p.ask(0, append([]string{"journal", "cat", "--dir", "data"}, strings.Fields(args)...))
		if strings.Count(out, "\n") != n {
			t.Errorf("cat %s: %s", args, out)
		}
	}
	p.flip([]byte(`{"temp": 1}`))
	p.ask(1, []string{"journal", "verify", "--dir", "data"}, `\.seg: bytes [0-9]+-[0-9]+, offsets [0-9]+-[0-9]+: `, "the journal is damaged: 1 place")
	p.ask(1, []string{"journal", "verify", "--dir", "data", "--json"}, `"file":"`)
	p.start()
	p.publish("press", "plant/1", `{"temp": 97}`)
	p.until("delivery after damage", func(s *app.Status) bool { return rule(s, "out", "hot").Delivered >= 3 })
	p.stop()
	p.ask(3, []string{"journal", "verify", "--dir", "nowhere"}, "no such file")
}

// flip changes a byte of what the journal holds.
func (p *plant) flip(text []byte) {
	p.t.Helper()
	paths, err := filepath.Glob(filepath.Join(p.dir, "data", "*.seg"))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			p.t.Fatal(err)
		}
		if i := bytes.Index(b, text); i >= 0 {
			b[i+1] ^= 0xff
			if err := os.WriteFile(path, b, 0o600); err != nil {
				p.t.Fatal(err)
			}
			return
		}
	}
	p.t.Fatalf("no segment holds %s", text)
}
