package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/app"
)

// place says where the Penstock is that a command speaks to.
type place struct {
	config    []string
	socket    string
	url       string
	tokenFile string
	json      bool
}

// flags adds the flags that say where.
func (p *place) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVarP(&p.config, "config", "c", nil, "the configuration the running Penstock has (file or folder, may be repeated)")
	f.StringVar(&p.socket, "socket", "", "its admin socket (default admin.sock in the journal's folder)")
	f.StringVar(&p.url, "url", "", "its admin address, such as http://127.0.0.1:9883")
	f.StringVar(&p.tokenFile, "token-file", "", "a file with the admin token, for --url")
	f.BoolVar(&p.json, "json", false, "print JSON, one value a line")
	cmd.MarkFlagsMutuallyExclusive("socket", "url")
}

// client returns a client of the running Penstock.
func (c *command) client(p *place) (*admin.Client, error) {
	switch {
	case p.url != "":
		token, err := p.token()
		return admin.DialURL(p.url, token), err
	case p.socket != "":
		return admin.Dial(p.socket), nil
	}
	loaded, err := c.load(p.config)
	if err != nil {
		return nil, err
	}
	return admin.Dial(loaded.Config.Admin.SocketPath(loaded.Config.Journal.Dir)), nil
}

func (p *place) token() (string, error) {
	if p.tokenFile == "" {
		return "", nil
	}
	text, err := os.ReadFile(p.tokenFile)
	return strings.TrimSuffix(string(text), "\n"), err
}

// ask asks the running Penstock and hands each piece of the answer to each.
func (c *command) ask(ctx context.Context, p *place, command string, q url.Values, each func(json.RawMessage) error) error {
	client, err := c.client(p)
	if err != nil {
		return err
	}
	defer client.Close()
	return environment(client.Ask(ctx, command, q, p.or(c.stdout, each)))
}

// change has the running Penstock change something.
func (c *command) change(ctx context.Context, p *place, command string, q url.Values, each func(json.RawMessage) error) error {
	client, err := c.client(p)
	if err != nil {
		return err
	}
	defer client.Close()
	return environment(client.Do(ctx, command, q, p.or(c.stdout, each)))
}

// or prints the pieces as they are when JSON is wanted.
func (p *place) or(w io.Writer, each func(json.RawMessage) error) func(json.RawMessage) error {
	if !p.json {
		return each
	}
	return func(piece json.RawMessage) error {
		_, err := w.Write(piece)
		return err
	}
}

// environment makes "nobody answers" an error of the environment.
func environment(err error) error {
	if u, ok := errors.AsType[*admin.UnreachableError](err); ok {
		return &app.EnvironmentError{Err: u}
	}
	return err
}

// decoded returns a function that decodes each piece and hands it to each.
func decoded[T any](each func(*T) error) func(json.RawMessage) error {
	return func(piece json.RawMessage) error {
		v := new(T)
		if err := json.Unmarshal(piece, v); err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		return each(v)
	}
}

// A table prints rows in columns.
type table struct{ w *tabwriter.Writer }

func newTable(w io.Writer, head ...string) *table {
	t := &table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	t.row(head...)
	return t
}

func (t *table) row(cells ...string) { fmt.Fprintln(t.w, strings.Join(cells, "\t")) }

func (t *table) end() error { return t.w.Flush() }

// folder returns the journal's folder: --dir, or that of the configuration.
func (c *command) folder(dir string, config []string) (string, error) {
	if dir != "" {
		return filepath.Clean(dir), nil
	}
	loaded, err := c.load(config)
	if err != nil {
		return "", err
	}
	return loaded.Config.Journal.Dir, nil
}
