package auth

import (
	"errors"
	"io/fs"

	"github.com/penstock/penstock/internal/problem"
)

// Validate returns what is wrong with the configuration, the users file's own
// text included.
func (c Config) Validate() problem.List {
	if c.UsersFile == "" {
		return nil
	}
	_, _, err := load(c.UsersFile)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return problem.List{problem.New("users_file", "the file %s does not exist", c.UsersFile).
			WithHint("`penstock passwd` creates it")}
	default:
		return problem.List{problem.New("users_file", "%v", err)}
	}
}

// Configured reports whether there is an authenticator.
func (c Config) Configured() bool { return c.UsersFile != "" }

// AdmitAnonymous reports whether a client without a user name may connect to a
// listener: `anonymous` decides when it is set; otherwise only where no
// authenticator is configured and the listener is bound to a loopback address
// (I8).
func (c Config) AdmitAnonymous(loopback bool) bool {
	if c.Anonymous != nil {
		return *c.Anonymous
	}
	return loopback && !c.Configured()
}
