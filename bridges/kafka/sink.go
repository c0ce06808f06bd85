// Package kafka writes records to Apache Kafka and what speaks its protocol.
//
// Of segmentio/kafka-go only the Transport is used, for connections; requests
// are routed, batches encoded and retried here, so that order and idempotence
// are in one hand:
//
//	Shard   topic -> group, partition of the key -> shard      no lock, no I/O
//	Write   batch -> one record batch per partition -> leader  one at a time per partition
//	        answer lost? the same bytes again, until Kafka has confirmed or refused them
//
// A batch carries a producer id and a sequence, so Kafka stores it once however
// often it is sent. A record with a key goes to the partition the Java client
// would choose. A record without one goes to a partition by its order hash, so
// that what must stay in order does (I3).
package kafka

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"

	"github.com/penstock/penstock/internal/message"
)

// Options is what code passes besides the configuration.
type Options struct {
	Log *slog.Logger // nil: no log
}

// A Sink is a bridges.Sink and a bridges.Sharder.
type Sink struct {
	config    Config
	log       *slog.Logger
	timing    timing
	codec     codec
	transport atomic.Pointer[kafka.Transport] // one for each time the sink is open
	tls       *tls.Config
	mechanism sasl.Mechanism
	addr      net.Addr

	topics    topics
	meta      *refresher
	producers producers
	open      writes
	buffers   sync.Pool // of *buffer
	counters  counters

	stop    context.CancelFunc
	stopped sync.WaitGroup
}

// timing bounds how long things take.
type timing struct {
	produce  time.Duration // from request to answer
	metadata time.Duration // the same, for what is not a batch
	missing  time.Duration // how long a topic may be unknown
	period   time.Duration // between refreshes that nobody asked for
	gap      time.Duration // between any two refreshes
	abandon  time.Duration // a batch in doubt not asked for again by then never will be
	dial     time.Duration
}

func defaultTiming() timing {
	return timing{
		produce: 10 * time.Second, metadata: 5 * time.Second, missing: time.Minute,
		period: time.Minute, gap: 50 * time.Millisecond, abandon: time.Minute, dial: 5 * time.Second,
	}
}

// counters are what Stats shows.
type counters struct {
	records, batches, bytes, resent, possibleDuplicates atomic.Uint64
}

// Stats are what a sink counted since it was made.
type Stats struct {
	Records uint64 // confirmed
	Batches uint64 // confirmed
	Bytes   uint64 // of confirmed batches, compressed
	Resent  uint64 // attempts beyond a batch's first
	// PossibleDuplicates are records sent again under a new producer id, or
	// without one, while an earlier attempt may have been written.
	PossibleDuplicates uint64
}

// New returns a sink for a configuration that Validate has accepted. It reads
// the files of `tls` and connects to nobody.
func New(c Config, o Options) (*Sink, error) {
	if err := c.Validate().Err(); err != nil {
		return nil, err
	}
	s := &Sink{config: c, log: o.Log, timing: defaultTiming(), meta: newRefresher()}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if s.codec, err = newCodec(c.Compression); err != nil {
		return nil, err
	}
	s.addr = kafka.TCP(c.Brokers...)
	s.topics.known.Store(&map[string]*topic{})
	s.producers.fetch = make(chan struct{}, 1)
	s.buffers.New = func() any { return new(buffer) }
	if s.tls, err = s.config.TLS.client(); err != nil {
		return nil, err
	}
	if s.mechanism, err = s.config.SASL.mechanism(); err != nil {
		return nil, err
	}
	return s, nil
}

// connect makes connections that live as long as ctx. Those of the time before
// are not used again: what hangs on them ends there.
func (s *Sink) connect(ctx context.Context) {
	s.transport.Store(&kafka.Transport{
		Context:     ctx,
		Dial:        (&net.Dialer{Timeout: s.timing.dial}).DialContext,
		DialTimeout: s.timing.dial,
		IdleTimeout: 5 * time.Minute,
		ClientID:    clientID,
		TLS:         s.tls,
		SASL:        s.mechanism,
		// The transport's own metadata are for the addresses of brokers. An empty
		// list asks for no topic, nil would ask for all.
		MetadataTopics: []string{},
	})
}

// Open starts to watch the cluster. A cluster that cannot be reached is reported
// by Write.
func (s *Sink) Open(ctx context.Context) error {
	s.sayInsecure()
	// The transport lives until Close, not until the end of the call.
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.connect(ctx)
	ended := s.meta.open()
	s.stopped.Go(func() { s.watch(ctx, ended) })
	return nil
}

func (s *Sink) sayInsecure() {
	servers := slog.String("reason", strings.Join(s.config.Brokers, ", "))
	if s.config.TLS != nil && s.config.TLS.Insecure {
		s.log.Warn("kafka certificates are not checked, tls.insecure is set", servers)
	}
	if sasl := s.config.SASL; s.config.TLS == nil && sasl != nil && sasl.Mechanism == "PLAIN" {
		s.log.Warn("the kafka password is sent in clear text, SASL PLAIN without tls", servers)
	}
}

// Close ends the connections. What was not confirmed stays with the lane.
func (s *Sink) Close(context.Context) error {
	if s.stop == nil {
		return nil // never opened
	}
	s.stop()
	s.stopped.Wait()
	s.transport.Load().CloseIdleConnections()
	return nil
}

// Shard tells what must stay in order together: a topic is a group, a
// partition a shard. Until the partitions are known a group is one shard (C18).
func (s *Sink) Shard(r *message.Record) (group, shard, gen uint32) {
	t := s.topics.find(r.Topic)
	l := t.layout.Load()
	if l == nil {
		return t.group, 0, 0
	}
	return t.group, l.partition(r), l.gen
}

// Stats returns what the sink counted. It may be called at any time.
func (s *Sink) Stats() Stats {
	c := &s.counters
	return Stats{
		Records: c.records.Load(), Batches: c.batches.Load(), Bytes: c.bytes.Load(),
		Resent: c.resent.Load(), PossibleDuplicates: c.possibleDuplicates.Load(),
	}
}
