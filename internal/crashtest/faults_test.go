package crashtest_test

// A planted fault is a mistake that the model must find: one text of a source
// file replaced by another.
type plantedFault struct {
	name     string
	file     string // from the root of the repository
	old, new string // old is there exactly once
}

// planted are the mistakes that would break a promise without breaking a test
// of one package, one for each rule that keeps the promises.
var planted = []plantedFault{
	{
		name: "ack before fsync",
		file: "internal/journal/writer.go",
		old:  "		start := time.Now()\n		if err := w.file.Datasync()",
		new:  "		w.show()\n		start := time.Now()\n		if err := w.file.Datasync()",
	},
	{
		name: "no folder fsync on roll",
		file: "internal/journal/writer.go",
		old:  "	return w.j.fs.SyncDir(filepath.Dir(s.path))\n",
		new:  "	_ = filepath.Dir(s.path)\n	return nil\n",
	},
	{
		name: "cursor before confirmation",
		file: "pipelines/dispatch.go",
		old:  "	r := result{s, b, l.sink.Write(ctx, b.records)}\n",
		new:  "	_ = l.sink.Write(ctx, b.records)\n	r := result{s, b, nil}\n",
	},
	{
		name: "torn tail accepted",
		file: "internal/journal/recover.go",
		old:  "	cut := min(used, sv.tail(end))\n",
		new:  "	cut := used\n	_ = sv.tail(end)\n",
	},
	{
		name: "damaged frame uncounted",
		file: "internal/journal/damage.go",
		old:  "		d.count++\n",
		new:  "",
	},
	{
		name: "retry reorders a key",
		file: "pipelines/settle.go",
		old:  "	s.retryAt = l.now.Add(after)\n	l.schedule.again(s, b)\n",
		new:  "	s.retryAt = l.now.Add(after)\n	s.pushBack(b)\n	l.schedule.count(s, len(b.records), b.bytes)\n",
	},
	{
		name: "drop uncounted",
		file: "pipelines/ledger.go",
		old:  "		f.dropped[x-dropped]++\n",
		new:  "		f.records--\n",
	},
	{
		name: "offset given out twice",
		file: "internal/journal/recover.go",
		old:  "	j.buf.next = max(r.high, j.state.high, r.valid+r.span) + 1\n",
		new:  "	j.buf.next = r.valid + 1\n",
	},
	{
		name: "message and queue entry torn apart",
		file: "internal/journal/snapshot.go",
		old:  "	return frameKind(f) == kindChange || frameKind(f) == kindMessage && peek(f).stateful\n",
		new:  "	return frameKind(f) == kindChange\n",
	},
}
