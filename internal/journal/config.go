package journal

// Config is the top-level key `journal`.
type Config struct {
	Dir      string `koanf:"dir"`                    // reaches here absolute
	MaxBytes int64  `koanf:"max_bytes" unit:"bytes"` // bound of everything in Dir; 0 = 10 GiB
	Sync     string `koanf:"sync"`                   // group (default), off, or an interval such as 100ms
}
