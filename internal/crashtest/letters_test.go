package crashtest_test

import (
	"context"
	"testing/synctest"

	"github.com/penstock/penstock/pipelines/deadletter"
)

const lettersFolder = "/l/dead-letters"

// letterBook is what is known of the dead letters.
type letterBook struct {
	there   map[string]bool // ids of those that were in the store when this life began
	purged  map[string]bool // of those that somebody took out
	ever    map[string]bool // of all that were ever seen
	gaveWay uint64          // rule errors that made room for newer ones
}

func (w *world) openLetters() {
	var err error
	w.letters, err = deadletter.Open(deadletter.Options{
		Dir: lettersFolder, MaxBytes: w.script.Letters, FS: w.disk, Log: w.logger(),
	})
	if err != nil {
		w.fail("I4: open dead letters: %v", err)
	}
}

// readLetters takes stock when a life begins.
func (w *world) readLetters() {
	w.book.there = w.listLetters()
	for id := range w.book.there {
		w.book.ever[id] = true
	}
	w.book.gaveWay = w.letters.Stats().GivenWay
}

func (w *world) listLetters() map[string]bool {
	ids := map[string]bool{}
	for letter, err := range w.letters.List(deadletter.Filter{}) {
		if err != nil {
			if !w.faulty { // a file may be gone whose removal failed to be synced
				w.fail("read dead letters: %v", err)
			}
			continue
		}
		if ids[letter.ID] && !w.rerun && !w.faulty { // the store knows what it had when it was opened
			w.fail("C22: dead letter %s is there twice", letter.ID)
		}
		if letter.Record == nil && !w.faulty {
			w.fail("dead letter %s has no message", letter.ID)
		}
		ids[letter.ID] = true
	}
	return ids
}

// refused reports whether a record that a sink refused is where it belongs: no
// letter of that kind ever gives way (C20).
func (b *letterBook) refused(id string) bool { return b.there[id] || b.purged[id] }

// failed reports the same of a rule error, which may have given way to newer
// ones before anybody saw it.
func (b *letterBook) failed(id string) bool { return b.ever[id] || b.gaveWay > 0 }

// clearLetters purges the letters, as somebody who makes room does.
func (w *world) clearLetters() {
	synctest.Wait() // no letter is on its way
	ids := w.listLetters()
	if w.isOff() {
		return // what is there now, nobody will ever see
	}
	for id := range ids {
		w.book.purged[id], w.book.ever[id] = true, true
	}
	if _, err := w.letters.Purge(context.Background(), deadletter.Filter{}); err != nil {
		w.note("purge: %v", err)
	}
}
