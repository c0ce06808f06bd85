package rules

import (
	"math"
	"strconv"
	"strings"

	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser/lexer"
	"github.com/expr-lang/expr/types"
)

// wideLiterals lets a machine of 32 bits read integers it cannot hold in an
// int, which expr's parser refuses: each is replaced by a name of the same
// length that stands for it, so that places in the text stay what they are.
func (s *scope) wideLiterals(text string) string {
	tokens, err := lexer.Lex(file.NewSource(text))
	if err != nil {
		return text // the parser says what is wrong
	}
	runes := []rune(text)
	found := false
	for _, t := range tokens {
		n, err := strconv.ParseInt(strings.ReplaceAll(t.Value, "_", ""), 0, 64)
		if t.Kind != lexer.Number || err != nil || n <= math.MaxInt32 {
			continue
		}
		name := "_" + strconv.Itoa(len(s.literals)) + "_"
		name += strings.Repeat("_", max(0, len(t.Value)-len(name)))
		copy(runes[t.From:t.To], []rune(name))
		s.literals[name] = n
		s.env[name] = types.Int64
		found = true
	}
	if found {
		s.config.WithEnv(s.env)
	}
	return string(runes)
}
