package kafka

// Config is the key `kafka` of a sink.
type Config struct {
	Brokers     []string    `koanf:"brokers"`     // host:port, at least one
	Topic       string      `koanf:"topic"`       // for outputs that name none; a literal Kafka topic
	Acks        string      `koanf:"acks"`        // all is the only value
	Compression string      `koanf:"compression"` // none (default), gzip, snappy, lz4, zstd
	TLS         *TLSConfig  `koanf:"tls"`         // nil: plain; {}: system roots
	SASL        *SASLConfig `koanf:"sasl"`
}

// TLSConfig is the client side of TLS. Files are PEM and reach here absolute.
type TLSConfig struct {
	CA         string `koanf:"ca"`
	Cert       string `koanf:"cert"`
	Key        string `koanf:"key"`
	ServerName string `koanf:"server_name"`
	Insecure   bool   `koanf:"insecure"` // accept any certificate; said at start
}

// SASLConfig is how to log in.
type SASLConfig struct {
	Mechanism string `koanf:"mechanism"` // PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512
	User      string `koanf:"user"`
	Password  string `koanf:"password"`
}
