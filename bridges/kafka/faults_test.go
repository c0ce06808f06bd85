package kafka_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/bridges/kafka"
	"github.com/penstock/penstock/internal/kafkatest"
	"github.com/penstock/penstock/internal/message"
)

// Faults that a real Kafka cannot be made to show on demand are shown by kfake,
// each asserting that it happened. What arrived is read by kcat all the same.

func fake(t *testing.T, options ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.SeedTopics(2, "t")}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func at(c *kfake.Cluster) kafka.Config { return kafka.Config{Brokers: c.ListenAddrs()} }

func stored1(t *testing.T, c *kfake.Cluster, want []message.Record) {
	t.Helper()
	compare(t, kafkatest.At(c.ListenAddrs()[0]).Records(t, "t"), want, 2)
}

// one returns records of topic t that all go to partition 0 of 2.
func one(n, from int) []message.Record {
	var out []message.Record
	for i := range 4 * n {
		r := records("t", 1)[0]
		r.Message.Offset = uint64(from + i)
		r.Headers[0].Value = r.AppendID(nil)
		r.Key, r.Value, r.Null = fmt.Appendf(nil, "k%d", from+i), fmt.Appendf(nil, "v%d", from+i), false
		if kafka.Choose(&r, 2) == 0 && len(out) < n {
			out = append(out, r)
		}
	}
	return out
}

// join puts batches behind one another.
func join(batches ...[]message.Record) []message.Record {
	var out []message.Record
	for _, b := range batches {
		out = append(out, b...)
	}
	return out
}

func produceFault(err *kerr.Error, count int) kfake.Fault {
	return kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "t", Err: err, Count: count}
}

// A fault that comes twice on produce must leave each record once, in order.
func TestAnswersThatAskForAnotherTry(t *testing.T) {
	for _, err := range []*kerr.Error{
		kerr.NotLeaderForPartition, kerr.LeaderNotAvailable, kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend,
		kerr.RequestTimedOut, kerr.UnknownTopicOrPartition, kerr.KafkaStorageError, kerr.UnknownServerError,
		kerr.TopicAuthorizationFailed, kerr.CoordinatorLoadInProgress, kerr.OutOfOrderSequenceNumber,
		kerr.UnknownProducerID, kerr.InvalidProducerEpoch,
	} {
		t.Run(err.Message, func(t *testing.T) {
			c := fake(t)
			s := open(t, at(c))
			first, second, third := one(20, 1), one(20, 1000), one(20, 2000)
			write(t, s, first)
			fault := c.Fault(produceFault(err, 2))
			write(t, s, second)
			if fault.Hits() != 2 {
				t.Errorf("the fault happened %d times, want 2", fault.Hits())
			}
			write(t, s, third)
			stored1(t, c, join(first, second, third))
			if st := s.Stats(); st.PossibleDuplicates != 0 || st.Records != 60 {
				t.Errorf("stats %+v", st)
			}
		})
	}
}

// The batch was written, the answer said nobody knows, and then Kafka forgot
// the producer: the one way to a duplicate, and it is counted.
func TestPossibleDuplicatesAreCounted(t *testing.T) {
	c := fake(t)
	var log bytes.Buffer
	s := openLogged(t, at(c), &log)
	batch := one(20, 1)
	write(t, s, batch)
	doubt := c.Fault(produceFault(kerr.RequestTimedOut, 1))
	second := one(20, 1000)
	var retry *bridges.Retry
	if err := s.Write(t.Context(), second); !errors.As(err, &retry) {
		t.Fatalf("write: %v, want Retry", err)
	}
	forgot := c.Fault(produceFault(kerr.UnknownProducerID, 1))
	write(t, s, second)
	if doubt.Hits() != 1 || forgot.Hits() != 1 {
		t.Errorf("the faults happened %d and %d times", doubt.Hits(), forgot.Hits())
	}
	stored1(t, c, join(batch, second, second))
	if st := s.Stats(); st.PossibleDuplicates != 20 {
		t.Errorf("stats %+v, want 20 possible duplicates", st)
	}
	if !strings.Contains(log.String(), "may be doubled") {
		t.Errorf("the log does not say so: %s", log.String())
	}
}

// A batch in doubt that Kafka then refuses has burnt its numbers: under the same
// ones Kafka would take the next batch of that size for it and drop it.
func TestNumbersOfARefusedBatchAreNotUsedAgain(t *testing.T) {
	c := fake(t)
	s := open(t, at(c))
	batch, next := one(20, 1), one(20, 1000)
	doubt := c.Fault(produceFault(kerr.RequestTimedOut, 1))
	_ = s.Write(t.Context(), batch)
	refusal := c.Fault(produceFault(kerr.MessageTooLarge, 1))
	var reject *bridges.Reject
	if err := try(t, s, batch); !errors.As(err, &reject) {
		t.Fatalf("write: %v, want Reject", err)
	}
	write(t, s, next)
	if doubt.Hits() != 1 || refusal.Hits() != 1 {
		t.Error("the faults did not happen")
	}
	stored1(t, c, join(batch, next))
}

// A lane that gave a batch up (retry.max_age) brings the next one instead. It
// must neither wait for the old one nor be taken for it.
func TestAbandonedBatch(t *testing.T) {
	c := fake(t)
	s := open(t, at(c))
	write(t, s, one(5, 1))
	fault := c.Fault(produceFault(kerr.RequestTimedOut, 1))
	abandoned, next := one(20, 100), one(20, 1000)
	var retry *bridges.Retry
	if err := s.Write(t.Context(), abandoned); !errors.As(err, &retry) {
		t.Fatalf("write: %v, want Retry", err)
	}
	write(t, s, next)
	if fault.Hits() != 1 {
		t.Error("the fault did not happen")
	}
	stored1(t, c, join(one(5, 1), abandoned, next))
}

func TestAnswerThatWasNotForeseenIsRefusedInTheEnd(t *testing.T) {
	c := fake(t)
	s := open(t, at(c))
	fault := c.Fault(produceFault(kerr.UnknownServerError, -1))
	var reject *bridges.Reject
	if err := try(t, s, one(1, 1)); !errors.As(err, &reject) {
		t.Errorf("write: %v, want Reject", err)
	}
	if fault.Hits() < 5 {
		t.Errorf("tried %d times", fault.Hits())
	}
	fault.Remove()
	write(t, s, one(3, 100))
}

func TestTopicAuthorizationSaysWhatIsMissing(t *testing.T) {
	c := fake(t)
	s := open(t, at(c))
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: "t", Err: kerr.TopicAuthorizationFailed, Count: 1})
	err := s.Write(t.Context(), one(1, 1))
	var retry *bridges.Retry
	if !errors.As(err, &retry) || !strings.Contains(err.Error(), "Authorization") || !strings.Contains(err.Error(), "topic t") {
		t.Errorf("write: %v, want Retry that names the topic and the right", err)
	}
	write(t, s, one(1, 1))
}

func TestWithoutTheRightToWriteIdempotently(t *testing.T) {
	c := fake(t)
	fault := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: kerr.CoordinatorLoadInProgress, Count: 2})
	refused := 0
	c.ControlKey(int16(kmsg.InitProducerID), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if fault.Hits() < 2 {
			return nil, nil, false
		}
		refused++
		answer, _ := r.ResponseKind().(*kmsg.InitProducerIDResponse)
		answer.ErrorCode, answer.ProducerID = kerr.ClusterAuthorizationFailed.Code, -1
		return answer, nil, true
	})
	var log bytes.Buffer
	s := openLogged(t, at(c), &log)
	all := [][]message.Record{one(5, 1), one(5, 100), one(5, 200)}
	for _, batch := range all {
		write(t, s, batch)
	}
	stored1(t, c, join(all...))
	if refused != 1 || strings.Count(log.String(), "forbids idempotent writes") != 1 {
		t.Errorf("asked %d times, log:\n%s", refused, log.String())
	}
	// Without a producer id a lost answer doubles, and is counted.
	c.Fault(produceFault(kerr.RequestTimedOut, 1))
	write(t, s, one(5, 300))
	if st := s.Stats(); st.PossibleDuplicates != 5 {
		t.Errorf("stats %+v", st)
	}
}

func TestLeaderMoves(t *testing.T) {
	c := fake(t, kfake.NumBrokers(3))
	s := open(t, at(c))
	var all [][]message.Record
	for i := range 30 {
		batch := one(10, 1000*i+1)
		all = append(all, batch)
		if err := c.MoveTopicPartition("t", 0, int32(i%3)); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := s.Write(t.Context(), batch); err != nil {
			t.Logf("write after a move: %v", err)
			write(t, s, batch)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("move %d held the batch up for %v", i, took)
		}
	}
	stored1(t, c, join(all...))
	if s.Stats().Resent < 10 {
		t.Errorf("stats %+v: the moves were not felt", s.Stats())
	}
}

// A partition without a leader holds up its own records only.
func TestPartitionWithoutLeader(t *testing.T) {
	c := fake(t)
	s := open(t, at(c))
	write(t, s, records("t", 40))
	fault := c.Fault(
		kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: "t", Partitions: []int32{0}, Err: kerr.LeaderNotAvailable, Count: -1},
		kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "t", Partitions: []int32{0}, Err: kerr.NotLeaderForPartition, Count: -1},
	)
	zero := one(5, 1000)
	var retry *bridges.Retry
	for range 3 {
		if err := s.Write(t.Context(), zero); !errors.As(err, &retry) {
			t.Errorf("write to the partition without a leader: %v, want Retry", err)
		}
	}
	var other []message.Record
	for _, r := range records("t", 40) {
		r.Message.Offset += 5000
		if kafka.Choose(&r, 2) == 1 {
			other = append(other, r)
		}
	}
	if err := s.Write(t.Context(), other); err != nil {
		t.Errorf("write to the other partition: %v", err)
	}
	if fault.Hits() < 2 {
		t.Error("the fault did not happen")
	}
	fault.Remove()
	write(t, s, zero)
}

// A batch that is held up for longer than the refresher remembers unused topics
// keeps its topic in use.
func TestLongOutageOfAPartition(t *testing.T) {
	c := fake(t)
	s, err := kafka.New(at(c), kafka.Options{})
	if err != nil {
		t.Fatal(err)
	}
	kafka.HastenRefresh(s) // a period is 20 ms
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	write(t, s, one(5, 1))
	fault := c.Fault(
		kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: "t", Partitions: []int32{0}, Err: kerr.LeaderNotAvailable, Count: -1},
		kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "t", Partitions: []int32{0}, Err: kerr.NotLeaderForPartition, Count: -1},
	)
	batch := one(5, 1000)
	for began := time.Now(); time.Since(began) < 1500*time.Millisecond; {
		if err := s.Write(t.Context(), batch); err == nil {
			t.Fatal("written without a leader")
		}
	}
	fault.Remove()
	write(t, s, batch)
	stored1(t, c, join(one(5, 1), batch))
}

func TestWriteAfterCloseEnds(t *testing.T) {
	c := fake(t)
	s := open(t, at(c))
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), one(1, 1)); err == nil {
		t.Error("written by a closed sink")
	}
}

func TestNobodyListens(t *testing.T) {
	s := open(t, kafka.Config{Brokers: []string{"127.0.0.1:1", "localhost:1"}})
	var unavailable *bridges.Unavailable
	err := s.Write(t.Context(), one(1, 1))
	if !errors.As(err, &unavailable) || !strings.Contains(err.Error(), "refused") || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("write: %v", err)
	}
}

func TestCloseLeavesNothingBehind(t *testing.T) {
	c := fake(t)
	before := goleak.IgnoreCurrent()
	s, err := kafka.New(at(c), kafka.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(t, s, records("t", 100))
	if err := s.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	goleak.VerifyNone(t, before)
}
