package deadletter

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/penstock/penstock/internal/fault"
)

// A View is the letters in a folder as they were when it was opened. It only
// reads and takes no lock, so that it works beside a running Penstock.
type View struct{ reader }

// viewTries is how often a view begins again because the running Penstock wrote
// a file anew meanwhile.
const viewTries = 20

// errMoved says that a file went while it was read.
var errMoved = errors.New("dead letters are being written anew")

// OpenReadOnly opens the letters in a folder; fs nil is the operating system's.
func OpenReadOnly(dir string, fs fault.FS) (*View, error) {
	if fs == nil {
		fs = fault.OS{}
	}
	var err error
	for range viewTries {
		var v *View
		if v, err = openView(dir, fs); err == nil {
			return v, nil
		}
		if !errors.Is(err, errMoved) {
			break
		}
	}
	return nil, fmt.Errorf("open dead letters %s: %w", dir, err)
}

func openView(dir string, fs fault.FS) (*View, error) {
	v := &View{newReader(dir, fs, 0, 0)}
	list, err := fs.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	newestSegments(list, v.parts)
	for _, p := range v.parts.both() {
		for _, g := range p.segments {
			if err := v.read(g); err != nil {
				return nil, errors.Join(err, v.Close())
			}
		}
	}
	w, err := v.lastWay()
	v.givenWay = w.Total
	if err != nil {
		return nil, errors.Join(err, v.Close())
	}
	return v, nil
}

// read learns a segment and keeps its files open: they can be read when they
// are gone.
func (v *View) read(g *segment) error {
	sc := &scan{segment: g}
	if err := v.readSegment(sc, true); err != nil {
		return err
	}
	// Letters go before their changes: if they are still there, so were those.
	if _, err := v.fs.Stat(g.path()); g.file == nil || errors.Is(err, os.ErrNotExist) {
		return errMoved
	}
	// A bad end is an append that is going on.
	bad := slices.DeleteFunc(sc.bad, func(b span) bool { return g == g.part.newest() && b.at >= sc.good })
	v.damaged += uint64(len(bad) + sc.badChanges)
	return nil
}

// Close closes the files.
func (v *View) Close() error {
	v.take()
	defer v.free()
	var errs []error
	for _, p := range v.parts.both() {
		for _, g := range p.segments {
			for _, f := range [...]fault.File{g.file, g.changesFile} {
				if f != nil {
					errs = append(errs, f.Close())
				}
			}
		}
		p.segments = nil
	}
	return errors.Join(errs...)
}
