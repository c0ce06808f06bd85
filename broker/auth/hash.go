package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// A verifier is a stored password.
type verifier interface {
	// Verify reports whether password is the one that was hashed.
	Verify(password []byte) bool
}

// parseHash reads the hash of a users file's line.
func parseHash(text string) (verifier, error) {
	switch {
	case strings.HasPrefix(text, "$argon2id$"):
		return parseArgon2(text)
	case strings.HasPrefix(text, "$2a$"), strings.HasPrefix(text, "$2b$"), strings.HasPrefix(text, "$2y$"):
		return parseBcrypt(text)
	default:
		return nil, errors.New("the hash is neither bcrypt ($2b$...) nor argon2id ($argon2id$...)")
	}
}

// Hash returns the argon2id hash of password as `penstock passwd`
// writes it: 19 MiB and two passes, some 30 ms.
func Hash(password []byte) (string, error) {
	if len(password) == 0 {
		return "", errors.New("the password is empty")
	}
	h := argon2Hash{memory: 19 << 10, passes: 2, threads: 1, salt: make([]byte, 16)}
	if _, err := rand.Read(h.salt); err != nil {
		return "", fmt.Errorf("draw salt: %w", err)
	}
	h.sum = h.derive(password, 32)
	return h.String(), nil
}

type bcryptHash string

func parseBcrypt(text string) (verifier, error) {
	if len(text) != 60 {
		return nil, errors.New("a bcrypt hash has 60 characters")
	}
	// $2y$ is what PHP and htpasswd call $2b$.
	text = "$2b$" + text[4:]
	if _, err := bcrypt.Cost([]byte(text)); err != nil {
		return nil, fmt.Errorf("read bcrypt hash: %w", err)
	}
	return bcryptHash(text), nil
}

// Verify reports whether password is the one that was hashed.
func (h bcryptHash) Verify(password []byte) bool {
	// bcrypt sees 72 bytes; like other implementations, cut what is longer.
	return bcrypt.CompareHashAndPassword([]byte(h), password[:min(len(password), 72)]) == nil
}

type argon2Hash struct {
	memory  uint32 // KiB
	passes  uint32
	threads uint8
	salt    []byte
	sum     []byte
}

// Bounds of what a users file may ask of the machine for one password.
const (
	maxArgonMemory = 1 << 20 // KiB
	maxArgonPasses = 64
)

func parseArgon2(text string) (verifier, error) {
	parts := strings.Split(text, "$") // "", argon2id, v=19, m=..,t=..,p=.., salt, sum
	if len(parts) != 6 || parts[2] != "v=19" {
		return nil, errors.New("an argon2id hash is $argon2id$v=19$m=...,t=...,p=...$salt$hash")
	}
	var h argon2Hash
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memory, &h.passes, &h.threads); err != nil {
		return nil, fmt.Errorf("read argon2id parameters %q: %w", parts[3], err)
	}
	var err, err2 error
	h.salt, err = base64.RawStdEncoding.DecodeString(parts[4])
	h.sum, err2 = base64.RawStdEncoding.DecodeString(parts[5])
	if err := errors.Join(err, err2); err != nil {
		return nil, fmt.Errorf("read argon2id salt and hash: %w", err)
	}
	return h, h.check()
}

func (h argon2Hash) check() error {
	switch {
	case h.threads == 0 || h.passes == 0 || h.memory < 8*uint32(h.threads):
		return errors.New("argon2id needs t and p of at least 1, and m of at least 8 for each p")
	case h.memory > maxArgonMemory || h.passes > maxArgonPasses:
		return errors.New("argon2id with more than 1 GiB or 64 passes is refused")
	case len(h.salt) < 8 || len(h.sum) < 12:
		return errors.New("the argon2id salt or hash is too short")
	}
	return nil
}

func (h argon2Hash) derive(password []byte, n int) []byte {
	return argon2.IDKey(password, h.salt, h.passes, h.memory, h.threads, uint32(n))
}

// Verify reports whether password is the one that was hashed.
func (h argon2Hash) Verify(password []byte) bool {
	return subtle.ConstantTimeCompare(h.derive(password, len(h.sum)), h.sum) == 1
}

// String returns the PHC string.
func (h argon2Hash) String() string {
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", h.memory, h.passes, h.threads, b64(h.salt), b64(h.sum))
}
