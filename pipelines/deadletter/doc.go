// Package deadletter keeps what could not be delivered, until somebody redrives
// or purges it: records that a sink refused for good, messages that a rule
// failed on, and what was still owed to a rule that was removed.
//
// The store is a folder of files of JSON lines, one line for each letter, to be
// read with jq and grep as well as through this package:
//
//	refused-00000000000000000001-1.jsonl           letters from number 1 on
//	refused-00000000000000000001-1.changes         what became of them since
//	refused-00000000000000016021-1.jsonl           the newest: letters are added here
//	rule-errors-00000000000000000007-3.jsonl       written anew twice, without what was removed
//	given-way.jsonl                                how many rule errors gave way to newer ones
//	damaged.aside                                  lines that were not what was written
//	forwarded                                      the last letter that was forwarded
//
// Every letter has a number, never used twice, which says in which file it is.
// A line ends with the CRC-32C of what is before it:
//
//	{"seq":17,"kind":"refused","rule":"hot","sink":"plant","id":"...", ... ,"crc":"1c291ca3"}
//
// A line of a changes file is `{"removed":[[17,20],[23,23]],"crc":"..."}`, numbers from
// and to, or a letter without its record whose reason, error and attempts
// stand for the older ones. Files only grow; one that is half dead is written
// anew under the next generation (the last number of its name), and of two
// generations the higher one counts.
//
// There are two parts (C20). Letters of kind refused and rule_removed are owed
// to somebody: when their part is full, Append says so and the lane waits. Rule
// errors give way to newer ones, file by file, which is counted.
package deadletter
