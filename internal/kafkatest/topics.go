package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

// Topic creates a topic with a name of its own, made from the test's, and
// returns the name.
func (b *Broker) Topic(t testing.TB, partitions int) string {
	t.Helper()
	name := fmt.Sprintf("%s-%d", strings.Map(topicLetter, t.Name()), time.Now().UnixNano())
	b.CreateTopic(t, name, partitions, nil)
	return name
}

func topicLetter(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
		return r
	}
	return '-'
}

// CreateTopic creates a topic and waits until every partition has a leader.
// configs are Kafka's own keys (max.message.bytes ...); nil for none.
func (b *Broker) CreateTopic(t testing.TB, name string, partitions int, configs map[string]string) {
	t.Helper()
	if err := b.makeTopic(name, partitions, configs); err != nil {
		t.Fatalf("create topic %s: %v", name, err)
	}
}

// MakeTopic is CreateTopic outside a test.
func (b *Broker) MakeTopic(name string, partitions int) error {
	return b.makeTopic(name, partitions, nil)
}

func (b *Broker) makeTopic(name string, partitions int, configs map[string]string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	topic := kafka.TopicConfig{Topic: name, NumPartitions: partitions, ReplicationFactor: 1}
	for k, v := range configs {
		topic.ConfigEntries = append(topic.ConfigEntries, kafka.ConfigEntry{ConfigName: k, ConfigValue: v})
	}
	conn, err := kafka.DialContext(ctx, "tcp", b.Addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.CreateTopics(topic); err != nil {
		return err
	}
	return waitForLeaders(ctx, conn, name, partitions)
}

func waitForLeaders(ctx context.Context, conn *kafka.Conn, name string, partitions int) error {
	for {
		found, err := conn.ReadPartitions(name)
		if err == nil && led(found) == partitions {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(errors.New("its partitions have no leaders"), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func led(partitions []kafka.Partition) int {
	n := 0
	for i := range partitions {
		if partitions[i].Leader.Host != "" && partitions[i].Error == nil {
			n++
		}
	}
	return n
}

// DeleteTopic deletes a topic.
func (b *Broker) DeleteTopic(t testing.TB, name string) {
	t.Helper()
	conn, err := kafka.DialContext(t.Context(), "tcp", b.Addr)
	if err != nil {
		t.Fatalf("delete topic %s: %v", name, err)
	}
	defer conn.Close()
	if err := conn.DeleteTopics(name); err != nil {
		t.Fatalf("delete topic %s: %v", name, err)
	}
}

// AddPartitions raises the number of partitions of a topic.
func (b *Broker) AddPartitions(t testing.TB, name string, total int) {
	t.Helper()
	transport := &kafka.Transport{MetadataTopics: []string{name}}
	defer transport.CloseIdleConnections()
	client := &kafka.Client{Addr: kafka.TCP(b.Addr), Transport: transport}
	resp, err := client.CreatePartitions(t.Context(), &kafka.CreatePartitionsRequest{
		Topics: []kafka.TopicPartitionsConfig{{Name: name, Count: int32(total)}},
	})
	if err == nil {
		err = resp.Errors[name]
	}
	if err != nil {
		t.Fatalf("add partitions to %s: %v", name, err)
	}
}
