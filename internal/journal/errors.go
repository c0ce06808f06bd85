package journal

import (
	"errors"

	"github.com/penstock/penstock/internal/fault"
)

// The errors callers tell apart with errors.Is.
var (
	// ErrFull says that the journal may not grow now: its bound is reached, the
	// disk is full, or the disk fails. Nothing was appended; Room tells when to
	// try again.
	ErrFull = errors.New("journal is full")
	// ErrTooLarge says that an entry can never be stored within the bound.
	ErrTooLarge = errors.New("entry is too large for the journal")
	// ErrClosed says that the journal was closed.
	ErrClosed = errors.New("journal is closed")
	// ErrLocked says that another process has the journal open.
	ErrLocked = fault.ErrLocked
	// ErrVersion says that a newer Penstock wrote the journal.
	ErrVersion = errors.New("journal was written by a newer version")

	// errNoRoom is the writer's: no segment fits within the bound.
	errNoRoom = errors.New("no room for another segment within max_bytes")
	// errMalformed is the decoders'.
	errMalformed = errors.New("malformed frame")
)

// A FullError is an ErrFull that concerns the share of one lane only (C7).
type FullError struct {
	Lane string
	Room <-chan struct{} // closed when the lane has room again
}

func (e *FullError) Error() string { return "journal share of lane " + e.Lane + " is full" }

// Is makes a FullError an ErrFull.
func (e *FullError) Is(target error) bool { return target == ErrFull }
