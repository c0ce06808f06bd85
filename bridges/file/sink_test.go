package file_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/bridges/file"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/message"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newSink(t *testing.T, c file.Config, o file.Options) *file.Sink {
	t.Helper()
	s, err := file.New(c, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openSink(t *testing.T, c file.Config, o file.Options) *file.Sink {
	t.Helper()
	s := newSink(t, c, o)
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(context.Background()) })
	return s
}

func batch(values ...string) []message.Record {
	var b []message.Record
	for _, v := range values {
		b = append(b, message.Record{Value: []byte(v)})
	}
	return b
}

func write(t *testing.T, s bridges.Sink, values ...string) {
	t.Helper()
	if err := s.Write(t.Context(), batch(values...)); err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, path, want string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(b)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestWritesValues(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	s := openSink(t, file.Config{Path: path}, file.Options{})
	write(t, s, `{"a":1}`, "two\nlines", "")
	if err := s.Write(t.Context(), []message.Record{{Null: true}}); err != nil {
		t.Fatal(err)
	}
	content(t, path, "{\"a\":1}\ntwo\nlines\n\n\n")
}

func TestEnvelope(t *testing.T) {
	id := message.ID{Journal: 7, Epoch: 2, Offset: 9}
	cases := []struct {
		name   string
		record message.Record
		want   string
	}{
		{
			"all of it",
			message.Record{
				Message: id, Rule: 3, Output: 4, Received: 1767225600007, Client: "press-1", Topic: "plant/7", Key: []byte("k"),
				Value: []byte(`{"a":"b"}`), Headers: []message.Header{{Name: "site", Value: []byte("a")}, {Name: "n", Value: []byte("1")}},
			},
			`{"id":"` + id.String() + `.3.4","received":"2026-01-01T00:00:00.007Z","client":"press-1","topic":"plant/7",` +
				`"key":"k","headers":{"site":"a","n":"1"},"value":"{\"a\":\"b\"}"}`,
		},
		{
			"nothing but an id",
			message.Record{Message: id, Value: []byte{}},
			`{"id":"` + id.String() + `.0.0","received":"1970-01-01T00:00:00.000Z","client":"","topic":"","key":null,"headers":{},"value":""}`,
		},
		{
			"null",
			message.Record{Message: id, Null: true},
			`{"id":"` + id.String() + `.0.0","received":"1970-01-01T00:00:00.000Z","client":"","topic":"","key":null,"headers":{},"value":null}`,
		},
		{
			"bytes",
			message.Record{
				Message: id, Key: []byte{0xff}, Value: []byte{0, 0xfe},
				Headers: []message.Header{{Name: "a", Value: []byte{0xfd}}, {Name: "b", Value: []byte("x")}, {Name: "c", Value: []byte{0xfc}}},
			},
			`{"id":"` + id.String() + `.0.0","received":"1970-01-01T00:00:00.000Z","client":"","topic":"",` +
				`"key_base64":"/w==","headers":{"b":"x"},"headers_base64":{"a":"/Q==","c":"/A=="},"value_base64":"AP4="}`,
		},
		{
			"text that JSON escapes",
			message.Record{Message: id, Client: "\"\\\n\r\t\x00\x1fä☂", Value: []byte("a\nb")},
			`{"id":"` + id.String() + `.0.0","received":"1970-01-01T00:00:00.000Z","client":"\"\\\n\r\t\u0000\u001fä☂","topic":"",` +
				`"key":null,"headers":{},"value":"a\nb"}`,
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			s := file.NewStdout(file.StdoutConfig{Format: "envelope"}, &out)
			if err := s.Write(t.Context(), []message.Record{c.record}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want+"\n", out.String()); diff != "" {
				t.Errorf("line (-want +got):\n%s", diff)
			}
			if !json.Valid(out.Bytes()) {
				t.Error("not JSON")
			}
		})
	}
}

// Whatever a device sends, an envelope is one line of JSON that says the same.
func FuzzEnvelope(f *testing.F) {
	f.Add("client", []byte("value"))
	f.Add("\u2028\x7f", []byte{0xff})
	f.Fuzz(func(t *testing.T, client string, value []byte) {
		client = strings.ToValidUTF8(client, "?") // the broker admits no other
		var out bytes.Buffer
		s := file.NewStdout(file.StdoutConfig{Format: "envelope"}, &out)
		if err := s.Write(t.Context(), []message.Record{{Client: client, Key: value, Value: value}}); err != nil {
			t.Fatal(err)
		}
		var got struct {
			Client      string  `json:"client"`
			Value       *string `json:"value"`
			ValueBase64 []byte  `json:"value_base64"`
		}
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatalf("%q: %v", out.Bytes(), err)
		}
		back := got.ValueBase64
		if got.Value != nil {
			back = []byte(*got.Value)
		}
		if got.Client != client || !bytes.Equal(back, value) || bytes.Count(out.Bytes(), []byte("\n")) != 1 {
			t.Errorf("%q", out.Bytes())
		}
	})
}

func TestOpenRepairsAndTells(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	if err := os.WriteFile(path, []byte("one\ntw"), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	s := openSink(t, file.Config{Path: path}, file.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	write(t, s, "two")
	content(t, path, "one\ntwo\n")
	if !strings.Contains(log.String(), "incomplete line") || !strings.Contains(log.String(), "count=2") {
		t.Errorf("log: %s", log.String())
	}
}

func TestOpenIsFatalWhereWaitingDoesNotHelp(t *testing.T) {
	dir := t.TempDir()
	held := openSink(t, file.Config{Path: filepath.Join(dir, "held")}, file.Options{})
	_ = held
	for path, want := range map[string]string{
		filepath.Join(dir, "none", "out"): "the folder " + filepath.Join(dir, "none") + " does not exist",
		dir:                               "not a regular file",
		filepath.Join(dir, "held"):        "another sink or process writes to it",
	} {
		err := newSink(t, file.Config{Path: path}, file.Options{}).Open(t.Context())
		var fatal *bridges.Fatal
		if !errors.As(err, &fatal) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// A disk that is full is an outage: nothing of the batch stays, the same batch
// is written whole once there is room.
func TestFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	disk := fault.Inject(fault.OS{})
	s := openSink(t, file.Config{Path: path}, file.Options{FS: disk})
	write(t, s, "one")
	full := disk.Add(&fault.Fault{
		When: func(o fault.Op) bool { return o.Kind == fault.Write }, Err: syscall.ENOSPC, Short: true, Times: 2,
	})
	for range 2 {
		err := s.Write(t.Context(), batch("two", "three"))
		var unavailable *bridges.Unavailable
		if !errors.As(err, &unavailable) || !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("write on a full disk: %v", err)
		}
		content(t, path, "one\n")
	}
	write(t, s, "two", "three")
	content(t, path, "one\ntwo\nthree\n")
	if full.Fired() != 2 {
		t.Errorf("the fault fired %d times", full.Fired())
	}
}

func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	s := newSink(t, file.Config{Path: path}, file.Options{})
	if err := s.Reopen(); err != nil { // before it is open
		t.Fatal(err)
	}
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(t, s, "one")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	write(t, s, "two")
	if err := s.Reopen(); err != nil {
		t.Fatal(err)
	}
	write(t, s, "three")
	content(t, path+".1", "one\ntwo\n")
	content(t, path, "three\n")
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	var fatal *bridges.Fatal
	if err := s.Write(t.Context(), batch("late")); !errors.As(err, &fatal) {
		t.Errorf("write after close: %v", err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Errorf("second close: %v", err)
	}
}

// shortWriter takes n bytes, then returns err, once.
type shortWriter struct {
	bytes.Buffer
	n   int
	err error
}

func (w *shortWriter) Write(p []byte) (int, error) {
	if w.err == nil {
		return w.Buffer.Write(p)
	}
	n, _ := w.Buffer.Write(p[:w.n])
	err := w.err
	w.err = nil
	return n, err
}

func TestStdoutShortWrite(t *testing.T) {
	w := &shortWriter{n: len("one\ntw"), err: syscall.ENOSPC}
	s := file.NewStdout(file.StdoutConfig{}, w)
	err := s.Write(t.Context(), batch("one", "two", "three"))
	var partial *bridges.Partial
	if !errors.As(err, &partial) {
		t.Fatalf("short write: %v", err)
	}
	var failed []int
	for i := range 3 {
		if _, ok := errors.AsType[*bridges.Retry](partial.Failed[i]); ok {
			failed = append(failed, i)
		}
	}
	if diff := cmp.Diff([]int{1, 2}, failed); diff != "" {
		t.Errorf("records to retry:\n%s", diff)
	}
	write(t, s, "two", "three")
	if got := w.String(); got != "one\ntw\ntwo\nthree\n" {
		t.Errorf("%q", got)
	}
}

func TestStdoutBrokenPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	s := file.NewStdout(file.StdoutConfig{}, w)
	var fatal *bridges.Fatal
	if err := s.Write(t.Context(), batch("one")); !errors.As(err, &fatal) || !errors.Is(err, syscall.EPIPE) {
		t.Errorf("write to a broken pipe: %v", err)
	}
	if err := s.Open(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestValidate(t *testing.T) {
	cases := []struct {
		config file.Config
		want   []string
	}{
		{file.Config{Path: "/x"}, nil},
		{file.Config{Path: "/x", Format: "envelope"}, nil},
		{file.Config{Format: "envelop"}, []string{
			"format: \"envelop\" is not a format\n    did you mean \"envelope\"?",
			"path: a file sink needs a path\n    path: out.jsonl",
		}},
		{file.Config{Path: "/x", Format: "xml"}, []string{"format: \"xml\" is not a format\n    value or envelope"}},
	}
	for _, c := range cases {
		var got []string
		for _, p := range c.config.Validate() {
			got = append(got, p.Error())
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", c.config, diff)
		}
	}
	if got := (file.StdoutConfig{Format: "x"}).Validate(); len(got) != 1 {
		t.Errorf("stdout: %v", got)
	}
	if _, err := file.New(file.Config{}, file.Options{}); err == nil {
		t.Error("New took a configuration without a path")
	}
}

// The envelope allocates nothing per record.
func BenchmarkEnvelope(b *testing.B) {
	s := file.NewStdout(file.StdoutConfig{Format: "envelope"}, io.Discard)
	records := make([]message.Record, 1000)
	for i := range records {
		records[i] = message.Record{
			Client: "press-1", Topic: "plant/7/press", Key: []byte("press"), Value: []byte(`{"temp":91.2,"state":"run"}`),
			Headers: []message.Header{{Name: "site", Value: []byte("a")}},
		}
	}
	b.ReportAllocs()
	for i := 0; i < b.N; i += len(records) {
		if err := s.Write(b.Context(), records); err != nil {
			b.Fatal(err)
		}
	}
}
