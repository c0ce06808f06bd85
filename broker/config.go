package broker

import "github.com/penstock/penstock/internal/problem"

// ListenerConfig is one entry of `listeners`: a socket that accepts MQTT
// clients.
type ListenerConfig struct {
	Bind string     `koanf:"bind"` // host:port; an empty host is every address, port 0 a free one
	TLS  *TLSConfig `koanf:"tls"`  // nil: plain TCP
	// AckOrder is "" or strict: whether an acknowledgement also waits for those
	// of earlier messages that wait for delivery (C12).
	AckOrder string `koanf:"ack_order"`
}

// LimitsConfig is the top-level key `limits`. Zero values are the defaults.
type LimitsConfig struct {
	ReceiveMaximum int   `koanf:"receive_maximum"`         // acknowledgements that wait on one connection; 0 = 1,000
	MaxPacket      int64 `koanf:"max_packet" unit:"bytes"` // largest packet accepted; 0 = 1 MiB
}

// The bounds of LimitsConfig.
const (
	maxReceiveMaximum = 1<<16 - 1 // two bytes [MQTT-3.2.2.3.3]
	minMaxPacket      = 1 << 10
	maxMaxPacket      = 1 << 28 // what the remaining length can say, and the byte before it
)

// Validate returns what is wrong with the limits, with paths below `limits`.
func (l LimitsConfig) Validate() problem.List {
	var found problem.List
	if l.ReceiveMaximum < 0 || l.ReceiveMaximum > maxReceiveMaximum {
		found = append(found, problem.New("receive_maximum", "receive_maximum is 1 to %d", maxReceiveMaximum))
	}
	if l.MaxPacket != 0 && (l.MaxPacket < minMaxPacket || l.MaxPacket > maxMaxPacket) {
		found = append(found, problem.New("max_packet", "max_packet is 1KiB to 256MiB"))
	}
	return found
}

// TLSConfig is the server side of TLS. Files are PEM and reach here absolute.
type TLSConfig struct {
	Cert         string `koanf:"cert"`
	Key          string `koanf:"key"`
	ClientCA     string `koanf:"client_ca"`     // set: a client certificate is required
	UsernameFrom string `koanf:"username_from"` // cn or san: the certificate stands for the password
}
