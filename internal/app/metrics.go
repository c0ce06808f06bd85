package app

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// A collector makes metrics of a Status. None has a label per client or topic,
// whose number others decide.
type collector struct {
	status    func() Status
	sync, ack *histogram
	now       func() time.Time
}

// newGatherer returns all metrics of a process.
func newGatherer(c *collector) prometheus.Gatherer {
	r := prometheus.NewRegistry()
	r.MustRegister(c, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("penstock_"+name, help, labels, nil)
}

// Describe sends nothing: the collector is unchecked, as its labels come and
// go with the configuration.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends the metrics of one moment.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	s := c.status()
	e := emitter{out}
	e.gauge("info", "The version that runs.", 1, labels{"version": s.Version})
	e.gauge("ready", "1 when every lane works.", truth(s.Ready), nil)
	c.journal(e, &s.Journal)
	e.broker(&s.Broker)
	out <- c.ack.metric(describe("ack_delay_seconds", "From the receipt of a QoS 1 or 2 message to its acknowledgement, for messages that some rule wants."))
	for i := range s.Lanes {
		c.lane(e, &s.Lanes[i])
	}
	e.gauge("dead_letters", "Dead letters kept.", float64(s.DeadLetters.Letters), nil)
	e.gauge("dead_letter_bytes", "What they take on disk.", float64(s.DeadLetters.Bytes), nil)
	e.counter("dead_letters_gave_way_total", "Dead letters of rule errors that newer ones took the place of.", float64(s.DeadLetters.GaveWay), nil)
}

type labels map[string]string

// An emitter sends metrics.
type emitter struct{ out chan<- prometheus.Metric }

func (e emitter) gauge(name, help string, v float64, l labels) {
	e.send(name, help, prometheus.GaugeValue, v, l)
}

func (e emitter) counter(name, help string, v float64, l labels) {
	e.send(name, help, prometheus.CounterValue, v, l)
}

func (e emitter) send(name, help string, t prometheus.ValueType, v float64, l labels) {
	var names, values []string
	for _, n := range [...]string{"version", "lane", "rule", "state", "result", "reason", "qos"} {
		if value, ok := l[n]; ok {
			names, values = append(names, n), append(values, value)
		}
	}
	e.out <- prometheus.MustNewConstMetric(describe(name, help, names...), t, v, values...)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (c *collector) journal(e emitter, j *JournalStatus) {
	e.gauge("journal_bytes", "What the journal's folder takes on disk.", float64(j.Bytes), nil)
	e.gauge("journal_max_bytes", "What it may take.", float64(j.MaxBytes), nil)
	e.gauge("journal_segments", "Segments of the journal.", float64(j.Segments), nil)
	e.gauge("journal_stored_offset", "The watermark: every offset up to it is stored.", float64(j.Stored), nil)
	e.gauge("journal_full", "1 while messages are refused for want of room.", truth(j.Full), nil)
	e.gauge("journal_failing", "1 while the disk takes nothing.", truth(j.Failing), nil)
	e.counter("journal_damaged_total", "Damaged regions found and set aside since the start.", float64(j.Damaged), nil)
	e.out <- c.sync.metric(describe("journal_sync_seconds", "What the syncs of commits took."))
}

func (e emitter) broker(b *BrokerStatus) {
	e.gauge("connections", "Clients connected.", float64(b.Connections), nil)
	e.gauge("sessions", "Sessions known, connected or not.", float64(b.Sessions), nil)
	e.gauge("subscriptions", "Subscriptions.", float64(b.Subscriptions), nil)
	e.gauge("retained_messages", "Retained messages.", float64(b.Retained), nil)
	for qos := range b.MessagesIn {
		l := labels{"qos": strconv.Itoa(qos)}
		e.counter("messages_received_total", "PUBLISH packets received.", float64(b.MessagesIn[qos]), l)
		e.counter("messages_sent_total", "PUBLISH packets handed to connections.", float64(b.MessagesOut[qos]), l)
	}
	e.counter("messages_journaled_total", "Messages appended to the journal.", float64(b.Journaled), nil)
	for reason, n := range b.Dropped {
		e.counter("messages_dropped_total", "Messages that did not reach a session or the journal.", float64(n), labels{"reason": reason})
	}
}

// laneStates are the states a lane may be in; each has a series of its own, so
// that an alert can name it.
var laneStates = [...]string{"running", "opening", "paused", "unavailable", "stalled", "blocked", "stopped"}

func (c *collector) lane(e emitter, s *LaneStatus) {
	l := labels{"lane": s.Name}
	e.gauge("lane_backlog_messages", "Messages stored for the lane and not settled.", float64(s.BacklogMessages), l)
	e.gauge("lane_backlog_bytes", "What they take in the journal.", float64(s.BacklogBytes), l)
	oldest := 0.0
	if !s.Oldest.IsZero() {
		oldest = max(0, c.now().Sub(s.Oldest).Seconds())
	}
	e.gauge("lane_oldest_undelivered_seconds", "Age of the oldest message that is not settled, 0 for none.", oldest, l)
	e.gauge("lane_in_flight_records", "Records in writes that have not ended.", float64(s.InFlight), l)
	e.gauge("lane_full", "1 while the lane's share is full.", truth(s.Full), l)
	e.gauge("lane_breaker_open", "1 while the sink is unavailable.", truth(s.Breaker != "closed"), l)
	for _, state := range laneStates {
		e.gauge("lane_state", "1 for the state the lane is in.", truth(s.State == state), labels{"lane": s.Name, "state": state})
	}
	for i := range s.Rules {
		e.rule(s.Name, &s.Rules[i])
	}
}

// rule: figures of one rule in one lane, never to be summed over lanes, which
// each count the same messages (C22).
func (e emitter) rule(lane string, r *RuleStatus) {
	messages := func(result string, n uint64) {
		e.counter("rule_messages_total", "Messages the rule wanted, by what it made of them.", float64(n),
			labels{"lane": lane, "rule": r.Rule, "result": result})
	}
	messages("filtered", r.Filtered-r.Missing)
	messages("filtered_missing", r.Missing)
	messages("error", r.Errors)
	messages("passed", r.Passed)
	records := func(result, reason string, n uint64) {
		e.counter("rule_records_total", "Records the rule's outputs made for the lane, by what became of them.", float64(n),
			labels{"lane": lane, "rule": r.Rule, "result": result, "reason": reason})
	}
	records("delivered", "", r.Delivered)
	records("dead_lettered", "", r.DeadLettered)
	for reason, n := range r.Dropped {
		records("dropped", reason, n)
	}
	e.gauge("rule_pending_records", "Records not settled.", float64(r.Pending), labels{"lane": lane, "rule": r.Rule})
}
