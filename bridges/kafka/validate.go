package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/penstock/penstock/internal/problem"
)

// Validate returns everything that is wrong with the configuration, with paths
// below `kafka`. It reads the files that `tls` names.
func (c Config) Validate() problem.List {
	l := c.validateBrokers()
	if c.Topic != "" && !validTopic(c.Topic) {
		l = append(l, problem.New("topic", "%q is not a Kafka topic", c.Topic).
			WithHint("letters, digits, . _ and -, at most 249; a topic with holes belongs in a rule's output"))
	}
	if c.Acks != "" {
		l = append(l, oneOf("acks", c.Acks, []string{"all"})...)
	}
	if c.Compression != "" {
		l = append(l, oneOf("compression", c.Compression, codecNames())...)
	}
	l = append(l, c.TLS.validate().Under("tls")...)
	return append(l, c.SASL.validate().Under("sasl")...)
}

func (c Config) validateBrokers() problem.List {
	var l problem.List
	if len(c.Brokers) == 0 {
		p := problem.New("brokers", "no broker is named").WithHint(`brokers: ["localhost:9092"]`)
		p.Key = true
		l = append(l, p)
	}
	for i, b := range c.Brokers {
		if reason := badBroker(b); reason != "" {
			l = append(l, problem.New(fmt.Sprintf("brokers[%d]", i), "%s", reason).
				WithHint(`write host:port, as in "localhost:9092"`))
		}
	}
	return l
}

func badBroker(addr string) string {
	if strings.Contains(addr, "://") {
		return fmt.Sprintf("%q is a URL, not a broker", addr)
	}
	host, port, err := net.SplitHostPort(addr)
	switch {
	case err != nil && !strings.Contains(addr, ":"):
		return fmt.Sprintf("broker %q has no port", addr)
	case err != nil:
		return fmt.Sprintf("broker %q is not host:port", addr)
	case host == "" || strings.ContainsAny(addr, ", \t"):
		return fmt.Sprintf("broker %q has no usable host", addr)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return fmt.Sprintf("broker %q has no usable port", addr)
	}
	return ""
}

const topicLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

// validTopic is Kafka's own rule for names.
func validTopic(s string) bool {
	return s != "" && len(s) <= 249 && s != "." && s != ".." &&
		!strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune(topicLetters, r) })
}

// oneOf complains when word is none of words, written exactly.
func oneOf(path, word string, words []string) problem.List {
	if slices.Contains(words, word) {
		return nil
	}
	hint := problem.DidYouMean(strings.ToLower(word), words)
	if hint == "" {
		hint = problem.DidYouMean(strings.ToUpper(word), words)
	}
	if hint == "" {
		hint = "one of " + strings.Join(words, ", ")
	}
	return problem.List{problem.New(path, "unknown %s %q", path, word).WithHint("%s", hint)}
}

func (c *TLSConfig) validate() problem.List {
	if c == nil {
		return nil
	}
	var l problem.List
	if c.CA != "" {
		if _, err := readAuthorities(c.CA); err != nil {
			l = append(l, problem.New("ca", "%v", err))
		}
	}
	switch {
	case c.Cert != "" && c.Key == "":
		l = append(l, problem.New("cert", "cert is given without key").WithHint("add key: the certificate's private key"))
	case c.Cert == "" && c.Key != "":
		l = append(l, problem.New("key", "key is given without cert").WithHint("add cert: the key's certificate"))
	case c.Cert != "":
		if _, err := tls.LoadX509KeyPair(c.Cert, c.Key); err != nil {
			l = append(l, problem.New("cert", "read certificate and key: %v", err))
		}
	}
	return l
}

func readAuthorities(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read certificate authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New("read certificate authority: " + path + " holds no PEM certificate")
	}
	return pool, nil
}

func (c *SASLConfig) validate() problem.List {
	if c == nil {
		return nil
	}
	var l problem.List
	if c.Mechanism == "" {
		l = append(l, missing("mechanism", "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"))
	} else {
		l = append(l, oneOf("mechanism", c.Mechanism, mechanisms())...)
	}
	if c.User == "" {
		l = append(l, missing("user", "the name Kafka knows you under"))
	}
	if c.Password == "" {
		l = append(l, missing("password", "${env:NAME} takes it from the environment"))
	}
	return l
}

func missing(key, hint string) problem.Problem {
	p := problem.New(key, "%s is missing", key).WithHint("%s", hint)
	p.Key = true
	return p
}
