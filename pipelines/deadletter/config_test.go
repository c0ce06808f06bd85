package deadletter_test

import (
	"path/filepath"
	"testing"

	"github.com/penstock/penstock/pipelines/deadletter"
)

func TestConfig(t *testing.T) {
	for _, c := range []struct {
		name   string
		config deadletter.Config
		want   []string // paths
	}{
		{"defaults", deadletter.Config{}, nil},
		{"small", deadletter.Config{MaxBytes: 16 << 20}, nil},
		{"too small", deadletter.Config{MaxBytes: 1 << 20}, []string{"max_bytes"}},
		{"negative", deadletter.Config{MaxBytes: -1, RuleErrors: -1}, []string{"max_bytes", "rule_errors"}},
		{"no room for errors", deadletter.Config{RuleErrors: 1}, []string{"rule_errors"}},
		{"most for errors", deadletter.Config{MaxBytes: 16 << 20, RuleErrors: 9 << 20}, []string{"rule_errors"}},
		{"sink", deadletter.Config{Forward: &deadletter.ForwardConfig{Sink: "plant"}}, nil},
		{"topic", deadletter.Config{Forward: &deadletter.ForwardConfig{Topic: "dead"}}, nil},
		{"both", deadletter.Config{Forward: &deadletter.ForwardConfig{Sink: "plant", Topic: "dead"}}, []string{"forward"}},
		{"neither", deadletter.Config{Forward: &deadletter.ForwardConfig{}}, []string{"forward"}},
	} {
		var got []string
		for _, p := range c.config.Validate() {
			got = append(got, p.Path)
		}
		want(t, c.name, got, c.want)
	}
	o := deadletter.Config{MaxBytes: 1 << 30}.Options("data")
	want(t, "folder", o.Dir, filepath.Join("data", "dead-letters"))
	want(t, "old file", o.Legacy, filepath.Join("data", "dead-letters.jsonl"))
	s, err := deadletter.Open(deadletter.Options{Dir: filepath.Join(t.TempDir(), "x"), MaxBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	st := s.Stats()
	want(t, "bounds", []int64{st.Refused.MaxBytes, st.RuleErrors.MaxBytes}, []int64{56 << 20, 8 << 20})
}
