package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/penstock/penstock/internal/admin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// running is a server and how it is.
type running struct {
	*admin.Server
	socket string
	health admin.Health
	stop   func()
}

func start(t *testing.T, bind, token string) *running {
	t.Helper()
	r := &running{socket: filepath.Join(t.TempDir(), admin.SocketName), health: admin.Health{Ready: true}}
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "penstock_test"}, func() float64 { return 4 }))
	s, err := admin.Listen(admin.Options{
		Socket: r.socket, Bind: bind, Token: token, Metrics: metrics, Log: slog.New(slog.DiscardHandler),
		Health: func() admin.Health { return r.health }, Commands: commands,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Server = s
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { s.Serve(ctx); close(done) }()
	r.stop = func() { cancel(); <-done }
	t.Cleanup(r.stop)
	return r
}

// kindError is an error of a kind.
type kindError struct{ error }

func (kindError) Kind() string { return "config" }

var commands = map[string]admin.Command{
	"count": {Run: func(_ context.Context, q url.Values, emit func(any) error) error {
		for _, text := range q["item"] {
			if err := emit(map[string]string{"item": text}); err != nil {
				return err
			}
		}
		return nil
	}},
	"lane/pause": {Changes: true, Run: func(context.Context, url.Values, func(any) error) error {
		return kindError{errors.New("no sink is named \"x\"")}
	}},
	"forever": {Run: func(ctx context.Context, _ url.Values, emit func(any) error) error {
		if err := emit("begun"); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}},
}

// pieces asks and returns the pieces of the answer.
func pieces(t *testing.T, c *admin.Client, command string, q url.Values) (list []string, err error) {
	t.Helper()
	defer c.Close()
	err = c.Ask(t.Context(), command, q, func(piece json.RawMessage) error {
		list = append(list, strings.TrimSpace(string(piece)))
		return nil
	})
	return list, err
}

func TestAsk(t *testing.T) {
	r := start(t, "", "")
	got, err := pieces(t, admin.Dial(r.socket), "count", url.Values{"item": {"a", "<b>"}})
	if diff := cmp.Diff([]string{`{"item":"a"}`, `{"item":"<b>"}`}, got); diff != "" || err != nil {
		t.Errorf("Ask (-want +got):\n%s, %v", diff, err)
	}
	c := admin.Dial(r.socket)
	defer c.Close()
	err = c.Do(t.Context(), "lane/pause", nil, nil)
	if a, ok := errors.AsType[*admin.AnswerError](err); !ok || a.Kind() != "config" || a.Text != `no sink is named "x"` {
		t.Errorf("Do = %v", err)
	}
}

// A change is not made by following a link: only POST makes it.
func TestChangesTakePost(t *testing.T) {
	r := start(t, "", "")
	_, err := pieces(t, admin.Dial(r.socket), "lane/pause", nil)
	if err == nil || !strings.Contains(err.Error(), "Method Not Allowed") {
		t.Errorf("Ask for a change = %v", err)
	}
}

func TestSocketIsPrivate(t *testing.T) {
	r := start(t, "", "")
	info, err := os.Stat(r.socket)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v", info.Mode(), err)
	}
	r.stop()
	if _, err := os.Stat(r.socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("socket after the stop: %v", err)
	}
	_, err = pieces(t, admin.Dial(r.socket), "count", nil)
	if _, ok := errors.AsType[*admin.UnreachableError](err); !ok || !strings.Contains(err.Error(), "no Penstock runs here") {
		t.Errorf("Ask nobody = %v", err)
	}
}

// What a killed process left behind is replaced.
func TestSocketLeftBehind(t *testing.T) {
	r := start(t, "", "")
	second := &running{socket: r.socket}
	s, err := admin.Listen(admin.Options{
		Socket: second.socket, Metrics: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler), Health: func() admin.Health { return admin.Health{} },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestSocketPathTooLong(t *testing.T) {
	path := filepath.Join(t.TempDir(), strings.Repeat("x", 100), admin.SocketName)
	_, err := admin.Listen(admin.Options{Socket: path})
	if err == nil || !strings.Contains(err.Error(), "admin: {socket: PATH}") {
		t.Errorf("Listen = %v", err)
	}
}

func get(t *testing.T, address, token string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

func TestHealthAndMetrics(t *testing.T) {
	r := start(t, "127.0.0.1:0", "")
	base := "http://" + r.Addr().String()
	want := func(path string, status int, text string) {
		t.Helper()
		if got, body := get(t, base+path, ""); got != status || !strings.Contains(body, text) {
			t.Errorf("%s: %d %s, want %d and %q", path, got, body, status, text)
		}
	}
	want("/healthz", 200, `"ready": true`)
	want("/readyz", 200, `"ready": true`)
	want("/metrics", 200, "penstock_test 4")
	r.health = admin.Health{Parts: []admin.Part{{Name: "kafka", Reason: "unavailable: no route to host"}}}
	want("/healthz", 200, "no route to host")
	want("/readyz", 503, "no route to host")
	r.health.Broken = []string{"the disk takes nothing"}
	want("/healthz", 503, "the disk takes nothing")
}

func TestTokenOverTCP(t *testing.T) {
	for _, c := range []struct {
		set, given string
		status     int
	}{
		{"", "", 404},
		{"", "x", 404},
		{"secret", "", 401},
		{"secret", "secre", 401},
		{"secret", "secret", 200},
	} {
		r := start(t, "127.0.0.1:0", c.set)
		if got, body := get(t, "http://"+r.Addr().String()+"/v1/count?item=a", c.given); got != c.status {
			t.Errorf("token %q, given %q: %d %s, want %d", c.set, c.given, got, body, c.status)
		}
		_, err := pieces(t, admin.DialURL("http://"+r.Addr().String(), c.given), "count", nil)
		if (err == nil) != (c.status == 200) {
			t.Errorf("token %q, given %q: client says %v", c.set, c.given, err)
		}
	}
}

// An answer that goes on when the server stops breaks off, and says so.
func TestStopEndsAnswers(t *testing.T) {
	r := start(t, "", "")
	c := admin.Dial(r.socket)
	defer c.Close()
	err := c.Ask(t.Context(), "forever", nil, func(json.RawMessage) error {
		go r.stop()
		return nil
	})
	if err == nil {
		t.Error("the answer ended well")
	}
}

func TestPieceRefused(t *testing.T) {
	r := start(t, "", "")
	c := admin.Dial(r.socket)
	defer c.Close()
	enough := errors.New("enough")
	err := c.Ask(t.Context(), "count", url.Values{"item": {"a", "b"}}, func(json.RawMessage) error { return enough })
	if !errors.Is(err, enough) {
		t.Errorf("Ask = %v", err)
	}
}
