package journal

import "path/filepath"

// subfolder is what the files of a folder inside the journal's take, such as
// the dead letters: they count too (C7). One that cannot be read counts nothing.
func (j *Journal) subfolder(name string) int64 {
	list, err := j.fs.ReadDir(filepath.Join(j.dir, name))
	if err != nil {
		j.failed("measure the folder", err)
		return 0
	}
	var n int64
	for _, e := range list {
		if info, err := e.Info(); err == nil && !e.IsDir() {
			n += info.Size()
		}
	}
	return n
}
