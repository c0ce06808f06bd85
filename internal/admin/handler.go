package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// A Command answers one question or makes one change.
type Command struct {
	// Changes: something is changed, so that only POST calls it.
	Changes bool
	// Run hands its answer to emit piece by piece. What emit returns is why
	// nobody listens any more.
	Run func(ctx context.Context, q url.Values, emit func(any) error) error
}

// A KindError is an error of a command that its caller tells apart from others.
type KindError interface {
	error
	Kind() string
}

// Health is how Penstock is.
type Health struct {
	// Broken is what is broken for good, or until somebody acts: a disk that
	// fails, a lane that gave up. Empty: healthy.
	Broken []string `json:"broken"`
	Ready  bool     `json:"ready"`
	Parts  []Part   `json:"parts"` // the journal, then the lanes
}

// A Part is a part of Penstock that works or says why it does not.
type Part struct {
	Name   string `json:"name"`
	Ready  bool   `json:"ready"`
	Reason string `json:"reason,omitempty"`
}

func newHandler(o Options, commands map[string]Command, token string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		h := o.Health()
		answer(w, len(h.Broken) == 0, h)
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		h := o.Health()
		answer(w, h.Ready, h)
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{}))
	for name, c := range commands {
		mux.Handle(c.method()+" /v1/"+name, guard(token, c))
	}
	return mux
}

func (c Command) method() string {
	if c.Changes {
		return http.MethodPost
	}
	return http.MethodGet
}

func answer(w http.ResponseWriter, well bool, body any) {
	w.Header().Set("Content-Type", "application/json")
	if !well {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(body) // who asked went away
}

// guard lets those in who know the token; over the unix socket there is none.
func guard(token string, c Command) http.Handler {
	want := sha256.Sum256([]byte(token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		got := sha256.Sum256([]byte(given))
		if token != "" && subtle.ConstantTimeCompare(want[:], got[:]) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "the admin token is missing or wrong", http.StatusUnauthorized)
			return
		}
		c.serve(w, r)
	})
}

// end is the last line of an answer.
type end struct {
	Error string `json:"error,omitempty"`
	Kind  string `json:"kind,omitempty"`
}

type lastLine struct {
	End *end `json:"end"`
}

// serve runs the command and writes a line for each piece of its answer.
func (c Command) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	flush := http.NewResponseController(w)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	emit := func(piece any) error {
		if err := e.Encode(piece); err != nil {
			return err
		}
		return flush.Flush()
	}
	var last end
	if err := c.Run(r.Context(), r.URL.Query(), emit); err != nil {
		last.Error = err.Error()
		if k, ok := err.(KindError); ok { //nolint:errorlint // what wraps it is another error
			last.Kind = k.Kind()
		}
	}
	_ = emit(lastLine{&last}) // who asked went away
}
