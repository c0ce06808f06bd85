package journal

// Names of internals for the tests of the byte layout.

// SetVersion writes another version into the first block of a segment image.
func SetVersion(b []byte, segment uint64, version byte) {
	b[4] = version
	le.PutUint32(b[60:], blockSum(b, segment))
}

// SegmentID is the id in a segment's file name.
func SegmentID(name string) uint64 { return parseSegment("", name).id }
