package kafka

import (
	"github.com/segmentio/kafka-go"
)

// A verdict is what the answer to a batch means for it.
type verdict uint8

const (
	confirmed verdict = iota
	again             // not written; the same bytes may be accepted later
	doubtful          // written or not, nobody knows; the same bytes settle it
	reroute           // another broker leads the partition; this one may have written it before it lost it
	duplicate         // the broker believes it wrote this long ago
	renew             // the producer id or sequence is no longer good
	forbidden         // idempotent writes are not allowed
	refused           // these records will never be taken
	unknown           // not foreseen: tried a few times, then refused
)

// judge maps the error code of a produce answer.
func judge(code kafka.Error) verdict {
	switch code {
	case 0:
		return confirmed
	case kafka.NotLeaderForPartition, kafka.LeaderNotAvailable, kafka.UnknownTopicOrPartition, kafka.UnknownTopicID,
		kafka.FencedLeaderEpoch, kafka.UnknownLeaderEpoch, kafka.ReplicaNotAvailable, kafka.BrokerNotAvailable,
		kafka.KafkaStorageError:
		return reroute
	case kafka.RequestTimedOut, kafka.NotEnoughReplicasAfterAppend, kafka.NetworkException:
		return doubtful
	case kafka.NotEnoughReplicas, kafka.GroupLoadInProgress, kafka.GroupCoordinatorNotAvailable,
		kafka.NotCoordinatorForGroup, kafka.ConcurrentTransactions, kafka.TopicAuthorizationFailed,
		kafka.UnsupportedCompressionType, kafka.UnsupportedForMessageFormat, kafka.UnsupportedVersion,
		kafka.ThrottlingQuotaExceeded:
		return again
	case kafka.DuplicateSequenceNumber:
		return duplicate
	case kafka.OutOfOrderSequenceNumber, kafka.UnknownProducerId, kafka.InvalidProducerEpoch,
		kafka.InvalidProducerIDMapping, kafka.ProducerFenced:
		return renew
	case kafka.ClusterAuthorizationFailed:
		return forbidden
	case kafka.MessageSizeTooLarge, kafka.RecordListTooLarge, kafka.InvalidRecord, kafka.InvalidTimestamp,
		kafka.InvalidTopic, kafka.PolicyViolation:
		return refused
	default:
		return unknown
	}
}

// patience is how often a batch is tried on an answer that was not foreseen
// (corrupt message, unknown server error) before it is refused.
const patience = 10
