package rules_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/rules"
)

// What an explanation shows of bytes can be read again, text or not: commands
// read what a running Penstock answers.
func TestBytesRoundTrip(t *testing.T) {
	for _, b := range []rules.Bytes{rules.Bytes("91"), rules.Bytes(""), {0xff, 0x00}, rules.Bytes(`{"base64": "x"}`)} {
		text, err := json.Marshal(rules.RecordExplained{Topic: "t", Value: b})
		if err != nil {
			t.Fatal(err)
		}
		var r rules.RecordExplained
		if err := json.Unmarshal(text, &r); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if diff := cmp.Diff(b, r.Value); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
	var b rules.Bytes
	if err := json.Unmarshal([]byte(`7`), &b); err == nil {
		t.Error("a number is read as bytes")
	}
}
