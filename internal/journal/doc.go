// Package journal is the durable, append-only log of all that Penstock must
// not forget.
//
// Whoever appends gets an offset at once and learns from the watermark,
// Stored, when everything up to an offset is safe: one comparison of two
// numbers, whatever the number of those who wait. One goroutine, the
// committer, writes and syncs what all of them appended meanwhile. Readers
// share the memory it was written from while they keep up, and read the
// segments when they are behind.
//
// # The folder
//
//	journal.lock                                    held while the journal is open
//	<base>-<serial>-<segment id>.seg                a segment: 20 and 10 decimal digits, 16 hexadecimal
//	<base>-<serial>-<segment id>.void.seg           the same, after one that was given up
//	<base>-<serial>-<id>.<generation>-<through>.seg a segment written anew (.void.seg likewise)
//	next.spare                                      zeros, on the way to become a segment
//	rewrite.aside                                   a segment on the way to be written anew
//	<segment>.seg.<position>.damaged                a copy of what was found bad in a segment
//	<segment>.seg.<position>.tail                   the torn tail that was cut off a segment
//
// Segments sort by base, the first offset they may hold. A segment of a
// higher serial replaces everything from its base on: when a write fails, what
// was not synced goes into a new segment at the same offsets, and the frames
// left behind in the old one are void (C4). Such a segment says so in its name
// and stays until those before it are gone.
//
// A sealed segment of which little is still owed is written anew with only
// that, at the same offsets, and so are small neighbours of it, together (C6):
// the file stands for the segments of the serials up to <through>, and the
// highest generation counts. It gets its name when it is synced; then the old
// files go, each when its last reader has closed it. Readers step from one to
// the other: they look for offsets, not for files.
//
// # A segment
//
// All numbers are little-endian, and everything begins at a multiple of 8.
// The first two blocks are alike: each holds one state frame, which says all
// that the entries before the segment add up to, and both are synced before
// anything else is written. A segment written anew begins with the state as it
// was when that was done.
//
//	+------------+------------+---------+---------+-- -- --+---------+----------+
//	| head block | the same   | block   | block   |        | block   | zeros    |
//	|  (state)   |  again     |         |         |        |         | prepared |
//	+------------+------------+---------+---------+-- -- --+---------+----------+
//
// When it is full, it is sealed: the zeros are cut off, and it ends with a
// footer and a block that is a header only, which says how long the footer's
// block is, so that it is found from the end of the file (C5).
//
//	-- -- --+---------+--------------+-----------------+
//	        | block   | footer block | header with the |
//	        |         |              | footer's length |
//	-- -- --+---------+--------------+-----------------+
//
// Opening reads the footers, all of the newest segment, and, for a State, the
// newest snapshots and the segments with entries above them. A segment without
// a sound footer is read instead; the one that a crash left open gets its
// footer when the journal opens.
//
// # A block is what one commit wrote
//
//	  0               4    5    6       8                              16
//	+---------------+----+----+-------+-------------------------------+
//	| "PBLK"        |ver |flag| 64    | journal id                    |
//	+---------------+----+----+-------+-------------------------------+
//	| segment id, random              | synced offset                 | 32
//	+---------------------------------+---------------+---------------+
//	| first offset                    | bytes of      | number of     | 48
//	|                                 | frames        | frames        |
//	+---------------------------------+---------------+---------------+
//	| bytes of      | CRC32C of     | bytes of the  | CRC32C of the | 64
//	| frames, flag 4| them, flag 4  | footer's block| header        |
//	+---------------+---------------+---------------+---------------+
//	| frame | frame | ...
//
// ver is 2; 1 knew no compressed blocks. flag 1: the frame is the segment's
// state. flag 2: no frames, the journal was closed in order. flag 4: what
// follows the header is the frames compressed with zstd, "bytes of frames" as
// stored, filled up to a multiple of 8; then the header also says how many
// bytes the frames are, 16 MiB at most, and the checksum of what is stored.
// They unpack to just what would stand there without compression. A block is
// compressed from 1 KiB of frames on, if that saves an eighth. flag 16: the
// frame is the segment's footer, or there is none and the header says how long
// the block before it is; neither counts as an entry.
//
// The synced offset is the highest one that was synced before this block was
// written: a bad place at or below the highest such offset is damage, which is
// set aside, and reading goes on behind it; one above it is the torn tail
// (C3). An Archive, which reads beside the process that writes, shows what is
// at or below it.
//
// # A frame is one entry
//
//	  0               4               8                              16
//	+---------------+---------------+---------------------------------+
//	| size, head    | CRC32C of     | offset                          |
//	| included      | bytes 8..size |                                 |
//	+---------------+----+----------+---------------------------------+ - - - - -
//	| epoch         |kind| 0 0 0    | section | section | ...             | 0-7 B
//	+---------------+----+----------+---------------------------------+ - - - - -
//	 16              20   21         24                             size   padding
//
// The checksums of a segment are seeded with its id, so that neither another
// segment's bytes nor a payload made to look like a frame pass for a frame of
// it. Kinds: 1 message, 2 state, 3 number, 4 cursor, 5 footer, 6 forget,
// 7 saved, 8 tick, 9 change, 10 snapshot; others are skipped. States and
// footers are no entries: their offset means nothing.
//
// A section is a kind (1 byte), a length (uvarint) and as many bytes. Readers
// skip sections they do not know, and those that would be empty are left out.
//
//	message   1 meta: received (8, Unix ms), QoS + 4 if retained + 8 if it becomes the topic's
//	            retained one (1), hops (1), publisher's packet id (2)
//	          2 rules (4 each)   9, 10 as in a change, here   3 client   4 user   5 topic   6 source
//	          7 properties: sections 1 payload format (1), 2 expiry (4), 3 content type,
//	            4 response topic, 5 correlation data, 6 user property: length of the name, name, value
//	          8 payload
//	number    1 number (4)   2 kind   3 key
//	cursor    1 lane (4)   2 low (8)   3 settled: pairs of uvarints: gap, length - 1   4 counters
//	          5 rules (4 each): empty is none, left out is all
//	          6 dropped, once for each reason: uvarint length, reason, ranges as in 3 from offset 0
//	forget    1 lane (4)
//	saved     1 kind   2 key   3 lowest offset needed (8)   4 body; left out: removed
//	change    9 deliveries: session (4), position (8), each   10 change of the state outside
//	snapshot  1 shard (4)   2 offset up to which it has applied the entries (8)   3 body
//	tick      1 received (8, Unix ms)
//	state     1 highest offset given out (8)   2 newest received (8)   3 highest number (4)
//	          4 a number's sections   5 a cursor's sections   6 a saved's sections
//	          7 newest snapshot of a shard: shard (4), offset, applied, size (8 each)
//	footer    1 messages: count, first and last offset, first and newest received (8 each)
//	          2 bytes of all frames, highest offset (8 each)
//	          3 the messages that the same rules want: uvarints count, bytes; rules (4 each)
//	          4 those beyond 1,024 such groups: uvarints count, bytes
//	          5 entries with deliveries, a change or a retained message: count, highest offset (8 each)
//	          6 where they and the snapshots are: kind, uvarints offset, position of the block, size
//	          7 there if 6 is not complete, which it is up to 4,096
//	          8 every 256 KiB: uvarints offset, position of the block
package journal
