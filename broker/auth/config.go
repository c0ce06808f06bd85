package auth

// Config is the top-level key `auth`.
type Config struct {
	UsersFile string `koanf:"users_file"` // reaches here absolute; "" = no authenticator
	// Anonymous overrides who may connect without a user name; nil: only on a
	// loopback listener, and only while no authenticator is configured.
	Anonymous *bool `koanf:"anonymous"`
}
