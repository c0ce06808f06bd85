package broker

// ListenerConfig is one entry of `listeners`: a socket that accepts MQTT
// clients.
type ListenerConfig struct {
	Bind string     `koanf:"bind"` // host:port; an empty host is every address, port 0 a free one
	TLS  *TLSConfig `koanf:"tls"`  // nil: plain TCP
}

// TLSConfig is the server side of TLS. Files are PEM and reach here absolute.
type TLSConfig struct {
	Cert         string `koanf:"cert"`
	Key          string `koanf:"key"`
	ClientCA     string `koanf:"client_ca"`     // set: a client certificate is required
	UsernameFrom string `koanf:"username_from"` // cn or san: the certificate stands for the password
}
