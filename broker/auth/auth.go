// Package auth decides who may connect: it holds a users file of names and
// password hashes, and checks credentials against it.
//
// A users file has one `name:hash` a line. A hash is bcrypt (`$2a$`, `$2b$`,
// `$2y$`) or argon2id in the PHC string format; empty lines and lines that
// begin with `#` are kept and mean nothing.
//
// Both hashes take tens of milliseconds by design. So a verified credential is
// remembered as a keyed hash, at most one hash is computed per two processors
// at a time, and whoever waits for its turn holds up nobody else.
package auth

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"
)

// ErrBusy is what Check returns when no hash could be computed before the
// context ended.
var ErrBusy = errors.New("no password check could be made in time")

// An Authenticator checks user names and passwords. It is safe for concurrent
// use.
type Authenticator struct {
	file  string
	turns chan struct{} // capacity: how many hashes are computed at once
	cache *cache

	mu      sync.RWMutex
	users   map[string]verifier
	decoy   verifier // what unknown names are checked against, so that they take as long
	looked  time.Time
	version fileVersion
	failed  error // why the file could not be read again
}

// fileVersion tells one state of a file from another.
type fileVersion struct {
	modified time.Time
	size     int64
}

// lookEvery is how long a change of the users file may go unnoticed.
const lookEvery = time.Second

// Open reads the users file. Without one it returns nil and no error: there is
// no authenticator.
func Open(cfg Config) (*Authenticator, error) {
	if cfg.UsersFile == "" {
		return nil, nil
	}
	c, err := newCache()
	if err != nil {
		return nil, err
	}
	a := &Authenticator{
		file:  cfg.UsersFile,
		turns: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
		cache: c,
	}
	if err := a.Reload(); err != nil {
		return nil, err
	}
	return a, nil
}

// Reload reads the users file again and forgets every remembered credential.
// On an error the users known so far stay.
func (a *Authenticator) Reload() error {
	users, version, err := load(a.file)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.looked = time.Now()
	a.failed = err
	if err != nil {
		return err
	}
	a.users, a.version, a.decoy = users, version, nil
	for _, h := range users {
		a.decoy = h
		break
	}
	a.cache.clear()
	return nil
}

// Err returns why the users file could not be read again after it changed, nil
// while what is in force is what the file says.
func (a *Authenticator) Err() error {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.failed
}

// Check reports whether password is the user's. It computes a hash unless it
// has seen the same credentials before, and returns ErrBusy when ctx ends
// while it waits for its turn to do so.
func (a *Authenticator) Check(ctx context.Context, user string, password []byte) (bool, error) {
	a.lookAgain()
	generation := a.cache.generation()
	key := a.cache.key(user, password)
	if ok, known := a.cache.get(key); known {
		return ok, nil
	}
	select {
	case a.turns <- struct{}{}:
	case <-ctx.Done():
		return false, fmt.Errorf("check password: %w", ErrBusy)
	}
	defer func() { <-a.turns }()
	if ok, known := a.cache.get(key); known { // another connection was first
		return ok, nil
	}
	ok := a.verify(user, password)
	a.cache.put(key, ok, generation)
	return ok, nil
}

func (a *Authenticator) verify(user string, password []byte) bool {
	a.mu.RLock()
	h, known := a.users[user]
	if !known {
		h = a.decoy
	}
	a.mu.RUnlock()
	return h != nil && h.Verify(password) && known
}

// lookAgain reads the users file again when it has changed, so that a user
// added with `penstock passwd` needs no restart.
func (a *Authenticator) lookAgain() {
	a.mu.RLock()
	due := time.Since(a.looked) >= lookEvery
	a.mu.RUnlock()
	if !due {
		return
	}
	version, err := stat(a.file)
	a.mu.Lock()
	changed := err == nil && version != a.version
	a.looked = time.Now()
	a.mu.Unlock()
	if changed {
		_ = a.Reload() // kept in failed; the users known so far stay
	}
}

func stat(path string) (fileVersion, error) {
	info, err := os.Stat(path)
	if err != nil {
		return fileVersion{}, err
	}
	return fileVersion{modified: info.ModTime(), size: info.Size()}, nil
}
