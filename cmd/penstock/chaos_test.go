package main_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/kafkatest"
)

var (
	chaosTime = flag.Duration("chaos", 60*time.Second, "how long Penstock and Kafka are killed and frozen")
	chaosSeed = flag.Uint64("chaos-seed", 0, "seed of the schedule, 0 for a new one")
)

// chaosRate is how many messages each device sends per second.
const chaosRate = 60

// An incident is one thing that happens to a process.
type incident struct {
	at     time.Duration
	victim string // penstock, kafka
	what   string // kill, start, freeze, thaw
}

func (i incident) String() string {
	return fmt.Sprintf("%8.3fs %s %s", i.at.Seconds(), i.what, i.victim)
}

// schedule is what happens in a run of chaos; it follows from the seed.
func schedule(seed uint64, length time.Duration) []incident {
	random := rand.New(rand.NewPCG(seed, 0))
	list := append(
		ordeal(random, "penstock", length, 2*time.Second, 7*time.Second),
		ordeal(random, "kafka", length, 6*time.Second, 18*time.Second)...,
	)
	slices.SortStableFunc(list, func(a, b incident) int { return int(a.at - b.at) })
	return list
}

// ordeal kills or freezes one process again and again, with least to most
// between, for up to 4 s each.
func ordeal(random *rand.Rand, victim string, length, least, most time.Duration) []incident {
	var list []incident
	for at := time.Duration(0); ; {
		at += least + time.Duration(random.Int64N(int64(most-least)))
		end := at + time.Duration(random.Int64N(int64(4*time.Second)))
		if end >= length {
			return list
		}
		begin, over := "kill", "start"
		if random.IntN(3) == 0 {
			begin, over = "freeze", "thaw"
		}
		list = append(list, incident{at, victim, begin}, incident{end, victim, over})
		at = end
	}
}

// TestChaos kills and freezes Penstock and Kafka at random while devices
// publish at QoS 1 and 2 over MQTT 3.1, 3.1.1 and 5.0, and reports what they
// were told beside what Kafka holds in the end (I1, I2, I3, I5, I6).
func TestChaos(t *testing.T) {
	seed := *chaosSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	incidents := schedule(seed, *chaosTime)
	t.Logf("to see the same schedule again: -chaos %v -chaos-seed %d", *chaosTime, seed)
	kafka := kafkatest.Start(t)
	kafka.CreateTopic(t, "crash", 4, nil)
	dir := t.TempDir()
	f := startFactory(t)
	p := startCrashing(t, dir, kafka)
	f.start(p.addr(0))

	kills := unleash(t, incidents, f, p, kafka)
	per := f.finish()
	got := f.read(kafka, per)
	p.stop()
	report(t, f, got, per, kills)
	checkAccount(t, p, dir, f, got, per)
}

// unleash lets the incidents happen when they are due, and the devices send at
// their rate; it returns how often Penstock was killed.
func unleash(t *testing.T, incidents []incident, f *crashFactory, p *process, kafka *kafkatest.Broker) (kills int) {
	t.Helper()
	began := time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var happened []string
	for n := 0; n < len(incidents) || time.Since(began) < *chaosTime; {
		<-tick.C
		passed := min(time.Since(began), *chaosTime)
		f.allow(int(passed.Seconds()*chaosRate) * crashDevices)
		if n == len(incidents) || passed < incidents[n].at && passed < *chaosTime {
			continue
		}
		x := incidents[n]
		n++
		happen(t, x, p, kafka)
		happened = append(happened, fmt.Sprintf("%v, done at %.3fs", x, time.Since(began).Seconds()))
		if x.victim == "penstock" && x.what == "kill" {
			kills++
		}
	}
	t.Logf("what happened:\n%s", strings.Join(happened, "\n"))
	return kills
}

func happen(t *testing.T, x incident, p *process, kafka *kafkatest.Broker) {
	t.Helper()
	switch x.victim + " " + x.what {
	case "penstock kill":
		p.kill()
	case "penstock start":
		p.start()
	case "penstock freeze":
		p.freeze()
	case "penstock thaw":
		p.thaw()
	case "kafka kill":
		kafka.Kill(t)
	case "kafka start":
		kafka.Restart(t)
	case "kafka freeze":
		kafka.Freeze(t)
	case "kafka thaw":
		kafka.Thaw(t)
	}
}

// report prints what the devices know beside what Kafka holds, and fails for
// what must be nothing.
func report(t *testing.T, f *crashFactory, got kafkaState, per, kills int) {
	t.Helper()
	c := &f.counters
	due := 0
	for seq := range per {
		if delivered(seq) {
			due += crashDevices
		}
	}
	t.Logf(`
	sent              %8d
	acknowledged      %8d
	refused           %8d
	sent again        %8d
	due in Kafka      %8d
	delivered         %8d
	duplicated        %8d   copies under the same id, bound %d for %d kills
	under two ids     %8d   sent again by devices after a broken connection
	lost              %8d   must be 0
	order violations  %8d   must be 0`,
		c.Sent.Load(), c.Acked.Load(), c.Refused.Load(), c.Resent.Load(), due, due-got.lost,
		got.copies, kills*crashBound, kills, got.resent, got.lost, got.disorder)
	if n := int64(per * crashDevices); c.Acked.Load() != n || c.Refused.Load() != 0 {
		t.Errorf("%d messages acknowledged and %d refused of %d", c.Acked.Load(), c.Refused.Load(), n)
	}
	if got.lost != 0 || got.disorder != 0 {
		t.Errorf("%d messages lost, %d out of order", got.lost, got.disorder)
	}
	if got.copies > kills*crashBound {
		t.Errorf("%d copies after %d kills, the bound is %d each (C15)", got.copies, kills, crashBound)
	}
	if got.resent > int(c.Resent.Load()) {
		t.Errorf("%d messages are in Kafka under two ids, devices sent only %d again", got.resent, c.Resent.Load())
	}
}
