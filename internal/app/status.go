package app

import "time"

// A Status is how a running Penstock is, as `penstock status` shows it.
type Status struct {
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	Ready   bool      `json:"ready"`
	Broken  []string  `json:"broken,omitempty"` // what needs somebody

	Journal     JournalStatus    `json:"journal"`
	Broker      BrokerStatus     `json:"broker"`
	Lanes       []LaneStatus     `json:"lanes"`
	Removed     []RemovedSink    `json:"removed_sinks,omitempty"`
	DeadLetters DeadLetterStatus `json:"dead_letters"`
}

// A JournalStatus is the journal's part of a Status. Sizes are bytes.
type JournalStatus struct {
	Dir       string    `json:"dir"`
	Bytes     int64     `json:"bytes"`
	MaxBytes  int64     `json:"max_bytes"`
	Segments  int       `json:"segments"`
	Stored    uint64    `json:"stored"` // the watermark
	Damaged   uint64    `json:"damaged"`
	Full      bool      `json:"full"`
	FullSince time.Time `json:"full_since,omitzero"`
	Failing   bool      `json:"failing"` // the disk takes nothing
	LastError string    `json:"last_error,omitempty"`
}

// A BrokerStatus is the broker's part of a Status.
type BrokerStatus struct {
	Listeners     []string          `json:"listeners"`
	Connections   int               `json:"connections"`
	Sessions      int               `json:"sessions"`
	Subscriptions int               `json:"subscriptions"`
	Retained      int               `json:"retained"`
	MessagesIn    [3]uint64         `json:"messages_in"`  // by QoS
	MessagesOut   [3]uint64         `json:"messages_out"` // by QoS
	Journaled     uint64            `json:"journaled"`
	Dropped       map[string]uint64 `json:"dropped,omitempty"` // by reason
}

// A LaneStatus is one lane's part of a Status.
type LaneStatus struct {
	Name   string    `json:"name"`
	State  string    `json:"state"` // running, paused, unavailable, stalled, blocked, opening, stopped
	Reason string    `json:"reason,omitempty"`
	Since  time.Time `json:"since,omitzero"`

	BacklogMessages int64     `json:"backlog_messages"`
	BacklogBytes    int64     `json:"backlog_bytes"`
	Full            bool      `json:"full"`
	Oldest          time.Time `json:"oldest_undelivered,omitzero"` // when it was received
	InFlight        int       `json:"in_flight"`
	Breaker         string    `json:"breaker"`
	LastConfirmed   time.Time `json:"last_confirmed,omitzero"`
	LastError       string    `json:"last_error,omitempty"`

	Rules []RuleStatus `json:"rules"`
}

// A RuleStatus is what a lane counted of one rule (I6): in = filtered + errors
// + passed in messages, records = delivered + dead_lettered + dropped + pending.
type RuleStatus struct {
	Rule         string            `json:"rule"`
	In           uint64            `json:"in"`
	Filtered     uint64            `json:"filtered"`
	Missing      uint64            `json:"filtered_missing"` // of the filtered: a field was absent
	Errors       uint64            `json:"errors"`
	Passed       uint64            `json:"passed"`
	Records      uint64            `json:"records"`
	Delivered    uint64            `json:"delivered"`
	DeadLettered uint64            `json:"dead_lettered"`
	Dropped      map[string]uint64 `json:"dropped,omitempty"` // by reason
	Pending      uint64            `json:"pending"`
}

// A RemovedSink is one that the configuration does not have any more and that
// is owed messages (C16).
type RemovedSink struct {
	Name     string `json:"name"`
	Messages int64  `json:"messages"`
	Bytes    int64  `json:"bytes"`
}

// A DeadLetterStatus is the dead letters' part of a Status.
type DeadLetterStatus struct {
	Letters    int64  `json:"letters"`
	Bytes      int64  `json:"bytes"`
	MaxBytes   int64  `json:"max_bytes"`
	GaveWay    uint64 `json:"gave_way"`    // rule errors that newer ones took the place of
	RuleErrors int64  `json:"rule_errors"` // letters that are rule errors
}
