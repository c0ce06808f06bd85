// Package inspect answers questions about a journal's folder: what is in it,
// what became of a message, and what today's rules make of yesterday's
// traffic. It only reads, takes no lock, and works beside a running Penstock,
// which answers the same questions through it and adds what only it knows.
package inspect
