package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// A Client asks a running Penstock.
type Client struct {
	base  string
	token string
	where string // for messages
	http  *http.Client
}

// Dial returns a client of a unix socket; nothing is opened yet.
func Dial(socket string) *Client {
	t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	return &Client{base: "http://penstock", where: socket, http: &http.Client{Transport: t}}
}

// DialURL returns a client of a TCP address, such as http://127.0.0.1:9883.
func DialURL(base, token string) *Client {
	return &Client{base: strings.TrimSuffix(base, "/"), token: token, where: base, http: &http.Client{}}
}

// An UnreachableError says that no Penstock answers.
type UnreachableError struct {
	Where string
	Err   error
}

func (e *UnreachableError) Error() string {
	if errors.Is(e.Err, fs.ErrNotExist) {
		return fmt.Sprintf("no Penstock runs here: there is no %s", e.Where)
	}
	return fmt.Sprintf("no Penstock answers at %s: %v", e.Where, e.Err)
}
func (e *UnreachableError) Unwrap() error { return e.Err }

// An AnswerError is what the running Penstock answered instead of doing it.
type AnswerError struct {
	Text string
	kind string
}

func (e *AnswerError) Error() string { return e.Text }

// Kind says what sort of error it was there, "" for no special one.
func (e *AnswerError) Kind() string { return e.kind }

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Ask asks a question and hands each piece of the answer to each.
func (c *Client) Ask(ctx context.Context, command string, q url.Values, each func(json.RawMessage) error) error {
	return c.call(ctx, http.MethodGet, command, q, each)
}

// Do has something changed and hands each piece of the answer to each.
func (c *Client) Do(ctx context.Context, command string, q url.Values, each func(json.RawMessage) error) error {
	return c.call(ctx, http.MethodPost, command, q, each)
}

func (c *Client) call(ctx context.Context, method, command string, q url.Values, each func(json.RawMessage) error) error {
	r, err := http.NewRequestWithContext(ctx, method, c.base+"/v1/"+command+"?"+q.Encode(), http.NoBody)
	if err != nil {
		return err
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	answer, err := c.http.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return &UnreachableError{c.where, err}
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return refused(answer)
	}
	return c.read(ctx, answer.Body, each)
}

func refused(answer *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 4096))
	if answer.StatusCode == http.StatusNotFound {
		return &AnswerError{Text: "this Penstock does not know the command, or takes no commands over TCP without admin: {token: ...}"}
	}
	return &AnswerError{Text: strings.TrimSpace(string(text))}
}

var endMark = []byte(`{"end":`)

// read hands out the lines and returns how the answer ended.
func (c *Client) read(ctx context.Context, body io.Reader, each func(json.RawMessage) error) error {
	lines := bufio.NewReader(body)
	for {
		line, err := lines.ReadBytes('\n')
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return fmt.Errorf("the answer of %s broke off: %w", c.where, err)
		case bytes.HasPrefix(line, endMark):
			return ended(line)
		}
		if err := each(json.RawMessage(line)); err != nil {
			return err
		}
	}
}

func ended(line []byte) error {
	var l lastLine
	if err := json.Unmarshal(line, &l); err != nil {
		return err
	}
	if l.End.Error == "" {
		return nil
	}
	return &AnswerError{Text: l.End.Error, kind: l.End.Kind}
}
