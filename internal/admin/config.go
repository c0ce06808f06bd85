package admin

import (
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/penstock/penstock/internal/problem"
)

// Config is the top-level key `admin`.
type Config struct {
	Bind   string `koanf:"bind"`   // TCP address, "" for none
	Token  string `koanf:"token"`  // of commands over TCP; "" = only health and metrics are there
	Socket string `koanf:"socket"` // path of the unix socket, absolute; "" = admin.sock in the journal's folder
}

// minToken is the shortest token: nobody guesses as much over a network.
const minToken = 16

// Validate returns what is wrong with the configuration, with paths below
// `admin`. It never shows the token.
func (c Config) Validate() problem.List {
	var found problem.List
	if c.Bind != "" {
		found = append(found, checkBind(c.Bind)...)
	}
	switch {
	case c.Token == "":
	case strings.ContainsFunc(c.Token, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		found = append(found, problem.New("token", "a token is made of visible ASCII characters, without blanks").
			WithHint("`openssl rand -hex 24` makes one"))
	case len(c.Token) < minToken:
		found = append(found, problem.New("token", "the token is too short: it lets whoever has it do anything").
			WithHint("at least %d characters; `openssl rand -hex 24` makes one", minToken))
	}
	return found
}

func checkBind(bind string) problem.List {
	const example = "write it as 127.0.0.1:9883"
	host, port, err := net.SplitHostPort(bind)
	if err != nil {
		return problem.List{problem.New("bind", "%q is not host:port", bind).WithHint(example)}
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return problem.List{problem.New("bind", "%q is not a port", port).WithHint("a port is a number from 0 (any free one) to 65535")}
	}
	if strings.ContainsAny(host, " /") {
		return problem.List{problem.New("bind", "%q is neither an IP address nor a host name", host).WithHint(example)}
	}
	return nil
}

// Warnings returns what is allowed but probably not meant.
func (c Config) Warnings() problem.List {
	host, _, err := net.SplitHostPort(c.Bind)
	switch {
	case c.Bind == "" && c.Token != "":
		return problem.List{problem.New("token", "the token is of no use without bind").
			WithHint("the socket needs none: only its owner may open it")}
	case c.Bind != "" && err == nil && c.Token == "" && !loopback(host):
		return problem.List{problem.New("bind", "anyone who reaches %s can read health and metrics; commands are off there", c.Bind).
			WithHint("bind to 127.0.0.1, or set a token for the commands")}
	}
	return nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// SocketPath returns where the unix socket is, for the journal's folder.
func (c Config) SocketPath(journalDir string) string {
	if c.Socket != "" {
		return c.Socket
	}
	return filepath.Join(journalDir, SocketName)
}
