package pipelines_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines"
	"github.com/penstock/penstock/pipelines/deadletter"
)

// A history is a random life of a lane: messages come, the destination fails,
// the process crashes, the journal lags, a second rule goes and comes back.
type history struct {
	*rapid.T
	rig    *rig
	sink   *modelSink
	told   *modelConfirmations
	wants  map[string]int // dead letters of rule 1 to come, by payload
	in     uint64
	n      int
	rand   *rand.Rand
	second bool // rule 2 feeds the lane
}

var words = []string{
	"ok", "ok", "ok", "ok", "ok", "ok", "filter", "missing", "error", "drop", "twice", "x poison", "shadow", "optional",
}

// publish publishes n messages.
func (h *history) publish(n int) {
	for range n {
		h.n++
		topic := fmt.Sprintf("t%d", h.rand.IntN(6))
		word := words[h.rand.IntN(len(words))]
		payload := fmt.Sprintf("%s %d", word, h.n)
		if word == "error" || word == "x poison" {
			h.wants[payload]++
		}
		h.in++
		// A rule that feeds another lane is in the header though not this lane's.
		header := []uint32{1, 2}[:1+h.rand.IntN(2)]
		h.rig.journal.publishSeen(topic, payload, func(m *message.Message) {
			h.told.note(m.ID.Offset, payload)
			for _, rule := range header {
				if rule == 1 || h.second {
					h.expect(rule, m)
				}
			}
		}, header...)
	}
}

func (h *history) expect(rule uint32, m *message.Message) {
	var out message.Outcome
	fakeRules{}.Evaluate(rule, m, &out)
	for _, r := range out.Records {
		if !out.Shadow {
			h.sink.expect(r)
		}
	}
}

// swap removes the second rule, or brings it back.
func (h *history) swap() {
	h.second = !h.second
	h.rig.rules = []uint32{1}
	if h.second {
		h.rig.rules = []uint32{2, 1}
		return
	}
	h.sink.mu.Lock()
	defer h.sink.mu.Unlock()
	for _, k := range h.sink.keys {
		for i, id := range k.ids {
			k.settled[i] = k.settled[i] || strings.Contains(id, ".2.") // it may be a dead letter from now on
		}
	}
}

// update swaps while the lane runs.
func (h *history) update() {
	h.swap()
	if err := h.rig.lane.Update(h.rig.t.Context(), h.rig.present()); err != nil {
		h.Fatal(err)
	}
}

func (h *history) pass() {
	pass(time.Duration(rapid.IntRange(0, 3000).Draw(h.T, "ms")) * time.Millisecond)
	h.check()
}

func (h *history) check() {
	if err := h.rig.lane.Account().Check(); err != nil {
		h.Fatal(err)
	}
}

// crash loses what is not stored, and everything in memory.
func (h *history) crash() {
	j := h.rig.journal
	j.hold(true)
	c, _ := j.Cursor(7)
	h.rig.cancel()
	// Writes that end while the process dies are seen by nobody; their records
	// are not covered by what is stored.
	_ = h.rig.end()
	h.check()
	h.sink.crash(c)
	for _, e := range j.entries[j.stored:] {
		if e.message != nil {
			h.Fatal("BUG: the test lost a message")
		}
	}
	j.lose(j.stored)
	j.hold(false)
	h.live()
}

// live starts the lane anew.
func (h *history) live() {
	clear(h.told.life)
	if h.rand.IntN(4) == 0 {
		h.swap()
	}
	h.rig.start()
}

// restart stops the lane in good order. What comes again then is a record of a
// message whose other record was not settled.
func (h *history) restart() {
	if err := h.rig.stop(); err != nil {
		h.Fatal(err)
	}
	c, _ := h.rig.journal.Cursor(7)
	h.sink.crash(c)
	h.live()
}

// finish heals the destination, waits until nothing is pending and compares.
func (h *history) finish(t *testing.T) {
	h.sink.mu.Lock()
	h.sink.healthy, h.sink.down = true, time.Time{}
	h.sink.mu.Unlock()
	for range 100 {
		if pass(10 * time.Second); h.rig.lane.Account().Total().Pending == 0 {
			break
		}
	}
	if err := h.rig.stop(); err != nil {
		h.Fatal(err)
	}
	h.check()
	if p := h.rig.lane.Account().Total().Pending; p > 0 {
		h.Fatalf("%d records are pending", p)
	}
	for key, k := range h.sink.keys {
		if lost := slices.Index(k.settled, false); lost >= 0 {
			h.Fatalf("record %s of %s is lost", k.ids[lost], key)
		}
	}
	if len(h.told.last) != h.n {
		h.Fatalf("%d of %d publishers were told what became of their message", len(h.told.last), h.n)
	}
	h.compareLetters(letters(t, h.rig.path))
}

// compareLetters looks for what is due of rule 1, and for what rule 2 was still
// owed when it was removed.
func (h *history) compareLetters(list []deadletter.Letter) {
	have, gone := map[string]int{}, map[uint64]bool{}
	for _, d := range list {
		if d.Rule == "rule-1" {
			have[*d.Record.Payload]++
			continue
		}
		id, err := message.ParseID(strings.SplitN(d.ID, ".", 2)[0])
		if err != nil {
			h.Fatal(err)
		}
		gone[id.Offset] = true
	}
	for payload := range h.wants {
		if have[payload] == 0 {
			h.Fatalf("%q is not in the dead letters", payload)
		}
	}
	one := h.rig.lane.Account().Rules
	got := one[slices.IndexFunc(one, func(a pipelines.RuleAccount) bool { return a.Rule == 1 })]
	if got.In != h.in || int(got.DeadLettered) != len(h.wants) || len(have) != len(h.wants) {
		h.Fatalf("published %d messages, %d dead letters are due, %d in the file, account: %+v", h.in, len(h.wants), len(have), got)
	}
	for id, offset := range h.sink.offset {
		if h.sink.written[id] == 0 && !gone[offset] && !strings.HasPrefix(h.told.word[offset], "x") {
			h.Fatalf("record %s was neither written nor is it a dead letter", id)
		}
	}
}

func TestModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// rapid asks a *testing.T for its deadline, which a bubble forbids.
		rapid.Check(struct{ rapid.TB }{t}, func(rt *rapid.T) {
			h := &history{T: rt, wants: map[string]int{}, second: true}
			seed := rapid.Uint64().Draw(rt, "seed")
			h.rand = rand.New(rand.NewPCG(seed, 2))
			h.sink = newModelSink(seed, rt.Errorf)
			var sink bridges.Sink = h.sink
			if rapid.Bool().Draw(rt, "sharder") {
				sink = modelSharder{h.sink}
			}
			h.rig = newRig(t, sink)
			defer h.rig.dead.Close()
			h.told = &modelConfirmations{
				sink: h.sink, last: map[uint64]bool{}, life: map[uint64]struct{}{}, word: map[uint64]string{},
			}
			h.rig.rules, h.rig.receipts = []uint32{1, 2}, h.told
			if rapid.Bool().Draw(rt, "together") {
				h.rig.before = (*pipelines.Lane).Together
			}
			h.rig.config = pipelines.DeliveryConfig{
				InFlight: rapid.IntRange(1, 4).Draw(rt, "in flight"),
				Batch:    pipelines.BatchConfig{Records: rapid.SampledFrom([]int{1, 3, 20, 1000}).Draw(rt, "records")},
			}
			h.rig.start()
			for range rapid.IntRange(1, 12).Draw(rt, "steps") {
				switch rapid.IntRange(0, 6).Draw(rt, "step") {
				case 0:
					h.crash()
				case 1:
					h.restart()
				case 2:
					h.update()
				default:
					h.publish(rapid.IntRange(1, 300).Draw(rt, "n"))
				}
				h.pass()
			}
			h.finish(t)
		})
	})
}
