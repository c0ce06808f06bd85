package kafka_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/bridges/kafka"
	"github.com/penstock/penstock/internal/kafkatest"
	"github.com/penstock/penstock/internal/message"
)

func TestMain(m *testing.M) { kafkatest.Main(m) }

func TestEveryCompressionIsReadBack(t *testing.T) {
	b := kafkatest.Shared(t)
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		t.Run(codec, func(t *testing.T) {
			topic := b.Topic(t, 3)
			s := open(t, kafka.Config{Brokers: []string{b.Addr}, Compression: codec})
			want := records(topic, 300)
			write(t, s, want)
			compare(t, b.Records(t, topic), want, 3)
		})
	}
}

// records makes records of all kinds: keys present, empty and absent, values
// large, empty and null, headers, letters of many bytes.
func records(topic string, n int) []message.Record {
	out := make([]message.Record, n)
	for i := range out {
		r := &out[i]
		r.Message = message.ID{Journal: 7, Epoch: 1, Offset: uint64(i + 1)}
		r.Rule, r.Output = 1, 2
		r.Topic, r.Received = topic, 1_700_000_000_000+int64(i*i%977)
		r.Order = uint64(i) * 0x9e3779b97f4a7c15
		r.Value = []byte(fmt.Sprintf(`{"n":%d,"grüße":"日本 %s"}`, i, strings.Repeat("x", i%500)))
		if i%7 == 0 {
			r.Value = nil
		}
		r.Null = i%7 == 0 && i%2 == 0
		switch i % 5 {
		case 0:
			r.Key = []byte{}
		case 1: // none
		default:
			r.Key = []byte(fmt.Sprintf("machine-%d", i%40))
		}
		id := r.AppendID(nil)
		r.Headers = []message.Header{{Name: "penstock-id", Value: id}, {Name: "penstock-client", Value: []byte("c ü")}}
	}
	return out
}

// Answers that get lost on the way back leave each record once.
func TestLostAnswersDoNotDuplicate(t *testing.T) {
	b := kafkatest.Shared(t)
	topic := b.Topic(t, 2)
	proxy := b.Proxy(t)
	s := open(t, kafka.Config{Brokers: []string{proxy.Addr}, Compression: "snappy"})
	all := records(topic, 5000)
	for at := 0; at < len(all); at += 100 {
		if at%500 == 0 && at > 0 {
			proxy.LoseAnswers(1 + at/500%3)
		}
		write(t, s, all[at:at+100])
	}
	if proxy.Lost() < 10 {
		t.Errorf("%d answers were lost", proxy.Lost())
	}
	compare(t, b.Records(t, topic), all, 2)
	if st := s.Stats(); st.Records != 5000 || st.PossibleDuplicates != 0 || st.Resent < uint64(proxy.Lost()) {
		t.Errorf("stats %+v", st)
	}
}

// Partitions are added while records are on their way: those already given a
// shard are split anew, the mapping changes its gen.
func TestPartitionsAreAdded(t *testing.T) {
	b := kafkatest.Shared(t)
	topic := b.Topic(t, 2)
	s, err := kafka.New(kafka.Config{Brokers: []string{b.Addr}}, kafka.Options{})
	if err != nil {
		t.Fatal(err)
	}
	kafka.HastenRefresh(s)
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	all := records(topic, 300)
	write(t, s, all[:100])
	_, _, before := s.Shard(&all[0])
	b.AddPartitions(t, topic, 5)
	deadline := time.After(20 * time.Second)
	for {
		if _, _, gen := s.Shard(&all[0]); gen != before {
			break
		}
		select {
		case <-deadline:
			t.Fatal("the mapping did not change")
		case <-time.After(10 * time.Millisecond):
		}
	}
	write(t, s, all[100:]) // as if sharded before the change
	got := b.Records(t, topic)
	want := expected(all[:100], 2)
	for p, more := range expected(all[100:], 5) {
		want[p] = append(want[p], more...)
	}
	if diff := cmp.Diff(want, byPartition(got)); diff != "" {
		t.Errorf("%.3000s", diff)
	}
}

// A compacted topic takes no record without a key. Kafka refuses the whole
// batch and names the culprits: only they are refused, the rest is to be sent
// again.
func TestKafkaNamesTheBadRecords(t *testing.T) {
	b := kafkatest.Shared(t)
	topic := b.Topic(t, 1)
	compacted := topic + "-compacted"
	b.CreateTopic(t, compacted, 1, map[string]string{"cleanup.policy": "compact"})
	s := open(t, kafka.Config{Brokers: []string{b.Addr}})
	batch := records(compacted, 10)
	for i := range batch {
		batch[i].Key = []byte("k")
	}
	batch[3].Key, batch[7].Key = nil, nil
	var partial *bridges.Partial
	if err := try(t, s, batch); !errors.As(err, &partial) || len(partial.Failed) != 10 {
		t.Fatalf("write: %v, want Partial for all", err)
	}
	var rest []message.Record
	for i := range batch {
		var reject *bridges.Reject
		if rejected := errors.As(partial.Failed[i], &reject); rejected != (i == 3 || i == 7) {
			t.Errorf("record %d: %v", i, partial.Failed[i])
		} else if !rejected {
			rest = append(rest, batch[i])
		}
	}
	write(t, s, rest)
	compare(t, b.Records(t, compacted), rest, 1)
}

// A topic that is deleted and made anew takes records again.
func TestTopicIsMadeAnew(t *testing.T) {
	b := kafkatest.Shared(t)
	topic := b.Topic(t, 3)
	s := open(t, kafka.Config{Brokers: []string{b.Addr}})
	write(t, s, records(topic, 30))
	b.DeleteTopic(t, topic)
	var retry *bridges.Retry
	again := records(topic, 60)
	if err := s.Write(t.Context(), again); !errors.As(err, &retry) {
		t.Fatalf("write to a deleted topic: %v, want Retry", err)
	}
	b.CreateTopic(t, topic, 1, nil)
	all := try(t, s, again)
	if partial, ok := errors.AsType[*bridges.Partial](all); ok { // those of partitions that are no more
		for i, err := range partial.Failed {
			if !errors.As(err, &retry) {
				t.Errorf("record %d: %v", i, err)
			}
		}
		var rest []message.Record
		for i := range again {
			if partial.Failed[i] != nil {
				rest = append(rest, again[i])
			}
		}
		all = try(t, s, rest)
	}
	if all != nil {
		t.Fatal(all)
	}
	if n := len(b.Records(t, topic)); n != 60 {
		t.Errorf("%d records, want 60", n)
	}
}

// Writes of several shards run at the same time, with one connection each.
func TestManyShardsAtOnce(t *testing.T) {
	b := kafkatest.Shared(t)
	topic := b.Topic(t, 8)
	s := open(t, kafka.Config{Brokers: []string{b.Addr}, Compression: "zstd"})
	all := records(topic, 8000)
	write(t, s, all[:1])
	shards := make(map[uint32][]message.Record)
	for i := range all[1:] {
		_, shard, _ := s.Shard(&all[i+1])
		shards[shard] = append(shards[shard], all[i+1])
	}
	var group sync.WaitGroup
	for _, records := range shards {
		group.Go(func() {
			for len(records) > 0 {
				n := min(50, len(records))
				if err := try(t, s, records[:n]); err != nil {
					t.Error(err)
				}
				records = records[n:]
			}
		})
	}
	group.Wait()
	compare(t, b.Records(t, topic), all, 8)
}
