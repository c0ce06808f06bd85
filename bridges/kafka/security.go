package kafka

import (
	"crypto/tls"
	"fmt"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

func mechanisms() []string { return []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} }

// client returns the settings for crypto/tls, nil for plain connections.
func (c *TLSConfig) client() (*tls.Config, error) {
	if c == nil {
		return nil, nil //nolint:nilnil // kafka-go's word for "no TLS" is nil
	}
	// The user asked for insecure in so many words, and Open says so (I8).
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName, InsecureSkipVerify: c.Insecure} //nolint:gosec // see above
	if c.CA != "" {
		pool, err := readAuthorities(c.CA)
		if err != nil {
			return nil, err
		}
		t.RootCAs = pool
	}
	if c.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return nil, fmt.Errorf("read certificate and key: %w", err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}

// mechanism returns how to log in, nil for not at all.
func (c *SASLConfig) mechanism() (sasl.Mechanism, error) {
	if c == nil {
		return nil, nil //nolint:nilnil // kafka-go's word for "no log-in" is nil
	}
	switch c.Mechanism {
	case "PLAIN":
		return plain.Mechanism{Username: c.User, Password: c.Password}, nil
	case "SCRAM-SHA-256":
		return scram.Mechanism(scram.SHA256, c.User, c.Password)
	case "SCRAM-SHA-512":
		return scram.Mechanism(scram.SHA512, c.User, c.Password)
	}
	return nil, fmt.Errorf("unknown SASL mechanism %q", c.Mechanism)
}
