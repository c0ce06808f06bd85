package config_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/problem"
)

// TestPlacesInTexts writes random texts in every style of YAML and looks for
// one character of each.
func TestPlacesInTexts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.SampledFrom([]string{
			"a", "b ", "it's", `"`, `\`, "é", "日", "\U0001f600", "\n", "\n\n", " ", "\t", "x: y", "# z", "{}", "- ", "\u00a0",
		}), 0, 12)
		before := strings.Join(words.Draw(t, "before"), "")
		after := strings.Join(words.Draw(t, "after"), "")
		yaml, ok := writeText(t, before+"X"+after)
		if !ok {
			t.Skip("this style cannot hold it")
		}
		text := "rules:\n  - name: a\n    from: a\n    to: [{sink: out}]\n    tests:\n      - name: " + yaml +
			"\n        given: {topic: a}\nsinks: [{name: out, stdout: {}}]\n"
		loaded, err := config.Parse("a.yaml", []byte(text), nil)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if got := loaded.Config.Rules[0].Tests[0].Name; got != before+"X"+after {
			t.Skipf("the library reads %q", got)
		}
		p := loaded.Place(problem.Problem{Path: "rules[0].tests[0].name", Offset: len(before)})
		lines := strings.Split(text, "\n")
		if rest := []rune(lines[p.Line-1])[p.Column-1:]; len(before) > 0 && !strings.HasPrefix(string(rest), "X") {
			t.Fatalf("offset %d is said to be at %d:%d, %q\n%s", len(before), p.Line, p.Column, string(rest), text)
		}
	})
}

// writeText writes a value as a YAML scalar of a style.
func writeText(t *rapid.T, value string) (yaml string, ok bool) {
	const indent = "          "
	switch style := rapid.SampledFrom([]string{"double", "single", "literal", "folded", "wrapped"}).Draw(t, "style"); style {
	case "single":
		return "'" + strings.ReplaceAll(strings.ReplaceAll(value, "'", "''"), "\n", "\n\n"+indent) + "'", !awkward(value)
	case "wrapped":
		return strings.ReplaceAll(writeDouble(t, value), "b ", "\\\n"+indent+"b\\x20"), true
	case "literal":
		return "|-\n" + indent + strings.ReplaceAll(value, "\n", "\n"+indent), !awkward(value)
	case "folded":
		return ">-\n" + indent + strings.ReplaceAll(strings.ReplaceAll(value, "\n", "\n\n"+indent), "b a", "b\n"+indent+"a"), !awkward(value)
	default:
		return writeDouble(t, value), true
	}
}

// awkward says whether the ends of lines hold white space, which most styles
// cannot keep, or the text begins or ends with an empty line.
func awkward(value string) bool {
	for line := range strings.SplitSeq(value, "\n") {
		if line == "" || strings.TrimSpace(line) != line {
			return true
		}
	}
	return false
}

func writeDouble(t *rapid.T, value string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range value {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\u00a0':
			b.WriteString(`\_`)
		case r > 0xffff && rapid.Bool().Draw(t, "escape"):
			fmt.Fprintf(&b, `\U%08X`, r)
		case r > 0x7f && r <= 0xffff && rapid.Bool().Draw(t, "escape"):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
