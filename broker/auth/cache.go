package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"
)

// cacheEntries bounds each half of the cache: about 400 KiB when full (I6).
const cacheEntries = 4096

// digest is what is kept of a credential.
type digest [sha256.Size]byte

// A cache remembers which credentials were right and which were wrong, as
// HMACs under a key drawn at start, so that memory holds no password and no
// hash that could be attacked offline. Wrong ones are kept apart: guessing
// never pushes a right one out.
type cache struct {
	secret [sha256.Size]byte

	mu    sync.Mutex
	right map[digest]struct{}
	wrong map[digest]struct{}
	gen   uint64 // grows with each clear
}

func newCache() (*cache, error) {
	c := &cache{}
	if _, err := rand.Read(c.secret[:]); err != nil {
		return nil, fmt.Errorf("draw cache key: %w", err)
	}
	c.clear()
	return c, nil
}

// key hashes the credentials. The length of the name goes first: otherwise
// ("ab", "c") and ("a", "bc") would be alike.
func (c *cache) key(user string, password []byte) (d digest) {
	m := hmac.New(sha256.New, c.secret[:])
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(user)))
	m.Write(n[:])
	m.Write([]byte(user))
	m.Write(password)
	m.Sum(d[:0])
	return d
}

func (c *cache) get(d digest) (ok, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.right[d]; ok {
		return true, true
	}
	_, known = c.wrong[d]
	return false, known
}

// generation is to be read before a check, and given to put after it: what was
// found under older users is not kept.
func (c *cache) generation() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gen
}

func (c *cache) put(d digest, ok bool, generation uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if generation != c.gen {
		return
	}
	half := c.wrong
	if ok {
		half = c.right
	}
	if len(half) >= cacheEntries {
		for old := range half { // any one: map order is random enough
			delete(half, old)
			break
		}
	}
	half[d] = struct{}{}
}

func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.right, c.wrong = map[digest]struct{}{}, map[digest]struct{}{}
	c.gen++
}
