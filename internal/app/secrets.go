package app

import (
	"crypto/sha256"
	"os"

	"github.com/penstock/penstock/config"
)

// A fingerprint is of the content of the files a sink's configuration names:
// a renewed certificate is a changed sink though its configuration is the same.
type fingerprint [sha256.Size]byte

func secretsOf(c *config.SinkConfig) fingerprint {
	h := sha256.New()
	if c.Kafka != nil && c.Kafka.TLS != nil {
		for _, path := range []string{c.Kafka.TLS.CA, c.Kafka.TLS.Cert, c.Kafka.TLS.Key} {
			text, _ := os.ReadFile(path) // what cannot be read is told where it is used
			sum := sha256.Sum256(text)
			h.Write(sum[:])
		}
	}
	return fingerprint(h.Sum(nil))
}
