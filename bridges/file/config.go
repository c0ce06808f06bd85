package file

// Config is the key `file` of a sink.
type Config struct {
	Path   string `koanf:"path"`   // reaches here absolute
	Format string `koanf:"format"` // value (default) or envelope
}

// StdoutConfig is the key `stdout` of a sink.
type StdoutConfig struct {
	Format string `koanf:"format"` // value (default) or envelope
}
