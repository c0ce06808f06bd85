package deadletter

import "bytes"

// What tests see of the lines.
var (
	DecodeLetter = decodeLetter
	Salvage      = salvage
	ParseHead    = func(line []byte) (seq uint64, kind Kind, rule, sink, id string, err error) {
		h, err := parseHead(line, names{})
		return h.Seq, h.Kind, h.Rule, h.Sink, string(h.id), err
	}
)

// EncodeLetter returns a letter's line.
func EncodeLetter(l *Letter) ([]byte, error) {
	var b bytes.Buffer
	err := appendLine(&b, l)
	return b.Bytes(), err
}
