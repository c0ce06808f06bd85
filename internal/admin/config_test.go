package admin_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/admin"
)

func TestConfig(t *testing.T) {
	const good = "0123456789abcdef"
	for name, c := range map[string]struct {
		config           admin.Config
		problem, warning string // how the first one begins
	}{
		"nothing":       {},
		"loopback":      {config: admin.Config{Bind: "127.0.0.1:0"}},
		"by name":       {config: admin.Config{Bind: "localhost:9883", Token: good}},
		"IPv6":          {config: admin.Config{Bind: "[::1]:9883"}},
		"open, token":   {config: admin.Config{Bind: ":9883", Token: good}},
		"open":          {config: admin.Config{Bind: ":9883"}, warning: "bind: anyone who reaches :9883 can read health"},
		"open, IPv6":    {config: admin.Config{Bind: "[::]:9883"}, warning: "bind: anyone who reaches [::]:9883"},
		"token alone":   {config: admin.Config{Token: good}, warning: "token: the token is of no use"},
		"no port":       {config: admin.Config{Bind: "127.0.0.1"}, problem: `bind: "127.0.0.1" is not host:port`},
		"port by name":  {config: admin.Config{Bind: "127.0.0.1:http"}, problem: `bind: "http" is not a port`},
		"URL":           {config: admin.Config{Bind: "http://x:80"}, problem: `bind: "http://x:80" is not host:port`},
		"short token":   {config: admin.Config{Bind: "[::1]:1", Token: good[1:]}, problem: "token: the token is too short"},
		"broken token":  {config: admin.Config{Bind: "[::1]:1", Token: good + "\n"}, problem: "token: a token is made of visible ASCII"},
		"foreign token": {config: admin.Config{Bind: "[::1]:1", Token: good + "ä"}, problem: "token: a token is made of visible ASCII"},
	} {
		t.Run(name, func(t *testing.T) {
			problems, warnings := c.config.Validate().Error(), c.config.Warnings().Error()
			if !strings.HasPrefix(problems, c.problem) || c.problem == "" && problems != "" {
				t.Errorf("Validate: %s, want %s", problems, c.problem)
			}
			if !strings.HasPrefix(warnings, c.warning) || c.problem == "" && c.warning == "" && warnings != "" {
				t.Errorf("Warnings: %s, want %s", warnings, c.warning)
			}
			if c.config.Token != "" && strings.Contains(problems+warnings, c.config.Token) {
				t.Error("the token is shown")
			}
		})
	}
}

func TestSocketPath(t *testing.T) {
	if got, want := (admin.Config{}).SocketPath("data"), filepath.Join("data", "admin.sock"); got != want {
		t.Errorf("SocketPath = %s, want %s", got, want)
	}
	if got := (admin.Config{Socket: "/run/p.sock"}).SocketPath("data"); got != "/run/p.sock" {
		t.Errorf("SocketPath = %s", got)
	}
}
