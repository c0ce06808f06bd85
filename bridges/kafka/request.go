package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/produce"
)

// A direct request goes to a broker as it is. kafka-go's Transport would answer
// metadata from its cache and look for a transaction coordinator before it asks
// for a producer id; it knows requests and answers by their types, so both are
// wrapped.
type direct struct{ request protocol.Message }

// An answer is what a broker said to a direct request.
type answer struct{ protocol.Message }

// ApiKey is spelled as kafka-go wants it.
func (d *direct) ApiKey() protocol.ApiKey { return d.request.ApiKey() } //nolint:revive,staticcheck // kafka-go's name

// Required is called before each exchange.
func (d *direct) Required(map[protocol.ApiKey]int16) bool { return true }

// RawExchange hands the request inside to the connection.
func (d *direct) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	conn, ok := rw.(*protocol.Conn)
	if !ok {
		return nil, fmt.Errorf("BUG: exchange over %T", rw)
	}
	m, err := conn.RoundTrip(d.request)
	if err != nil {
		return nil, err
	}
	return &answer{m}, nil
}

// routed is a direct request to one broker instead of any.
type routed struct {
	direct
	broker int32
}

// Broker is where the Transport sends the request.
func (r *routed) Broker(c protocol.Cluster) (protocol.Broker, error) { return brokerOf(c, r.broker) }

// brokerOf finds a broker the transport knows.
func brokerOf(cluster protocol.Cluster, id int32) (protocol.Broker, error) {
	b, ok := cluster.Brokers[id]
	if !ok {
		return protocol.Broker{ID: -1}, errUnknownBroker
	}
	return b, nil
}

var errUnknownBroker = errors.New("broker is not known yet")

// A produceCall is one attempt to hand a broker a frame. The frame is written to
// the connection as it is, without a copy: it must not change while an attempt
// whose end is not known may still be writing it.
type produceCall struct {
	broker  int32
	frame   []byte // the request from its transactional id on
	version int16
}

// Produce versions 3 to 8 have the same request; 3 is the first with record
// batches, 8 the first whose answer names bad records.
const (
	minProduceVersion = 3
	maxProduceVersion = 8
)

// ApiKey is spelled as kafka-go wants it.
func (*produceCall) ApiKey() protocol.ApiKey { return protocol.Produce } //nolint:revive,staticcheck // kafka-go's name

// Broker is where the Transport sends the call.
func (p *produceCall) Broker(c protocol.Cluster) (protocol.Broker, error) {
	return brokerOf(c, p.broker)
}

// Required is called before each exchange with the versions of its connection.
func (p *produceCall) Required(versions map[protocol.ApiKey]int16) bool {
	p.version = min(versions[protocol.Produce], maxProduceVersion)
	return true
}

const (
	clientID          = "penstock"
	requestHeaderSize = 4 + 2 + 2 + 4 + 2 + len(clientID)
	// smallFrame is copied behind its header, to leave in one packet.
	smallFrame = 4 << 10
)

// RawExchange writes the request and reads the answer. A connection carries one
// request at a time, so every one may have the same correlation id.
func (p *produceCall) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	if p.version < minProduceVersion {
		return nil, fmt.Errorf("broker %d is older than Kafka 0.11: no record batches", p.broker)
	}
	var buf [requestHeaderSize + smallFrame]byte
	head := appendRequestHeader(buf[:0], p.version, len(p.frame))
	if len(p.frame) <= smallFrame {
		if _, err := rw.Write(append(head, p.frame...)); err != nil {
			return nil, err
		}
	} else {
		if _, err := rw.Write(head); err != nil {
			return nil, err
		}
		if _, err := rw.Write(p.frame); err != nil {
			return nil, err
		}
	}
	_, answer, err := protocol.ReadResponse(rw, protocol.Produce, p.version)
	return answer, err
}

func appendRequestHeader(b []byte, version int16, frame int) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(requestHeaderSize-4+frame))
	b = binary.BigEndian.AppendUint16(b, uint16(protocol.Produce))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	b = binary.BigEndian.AppendUint32(b, 1)
	b = binary.BigEndian.AppendUint16(b, uint16(len(clientID)))
	return append(b, clientID...)
}

// appendFrameHeader appends a produce request for one partition up to the
// record batch, whose length putBatchSize fills in.
func appendFrameHeader(b []byte, topic string, partition int32, timeoutMS int32) []byte {
	b = binary.BigEndian.AppendUint16(b, 1<<16-1) // no transaction
	b = binary.BigEndian.AppendUint16(b, 1<<16-1) // acks: all replicas in sync
	b = binary.BigEndian.AppendUint32(b, uint32(timeoutMS))
	b = binary.BigEndian.AppendUint32(b, 1)
	b = binary.BigEndian.AppendUint16(b, uint16(len(topic)))
	b = append(b, topic...)
	b = binary.BigEndian.AppendUint32(b, 1)
	b = binary.BigEndian.AppendUint32(b, uint32(partition))
	return binary.BigEndian.AppendUint32(b, 0)
}

func putBatchSize(frame []byte, batchAt int) {
	binary.BigEndian.PutUint32(frame[batchAt-4:], uint32(len(frame)-batchAt))
}

// partitionAnswer takes the one partition out of the answer to one.
func partitionAnswer(m protocol.Message) (*produce.ResponsePartition, error) {
	r, ok := m.(*produce.Response)
	if !ok || len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 1 {
		return nil, fmt.Errorf("unexpected answer to a produce request: %+v", m)
	}
	return &r.Topics[0].Partitions[0], nil
}
