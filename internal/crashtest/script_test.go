package crashtest_test

import (
	"fmt"
	"strings"

	"pgregory.net/rapid"
)

// A script is what happens in one history. Each step is drawn as the same few
// numbers whatever it is, and step 0 is nothing, so that shrinking one step
// leaves those behind it as they are.
type script struct {
	Segment int64 // bytes of a segment
	Bound   int64 // bytes of the journal
	Letters int64 // bytes of the dead letters
	Harm    bool  // files are damaged
	Shards  bool  // the second lane's sink says what belongs together
	Steps   []step
}

type step struct {
	Kind int
	Who  int    // which publisher, destination or file
	N    int    // how many, how long
	Seed uint64 // everything else
}

// A kind of step. Together their weights are the number of draws that lead to
// each.
type kind struct {
	name   string
	weight int
	do     func(w *world, s step)
}

// kinds is every step there is. The first is what shrinking leaves.
func kinds() []kind {
	return []kind{
		{"nothing", 0, nil},
		{"publish", 22, (*world).publishFew},
		{"burst", 8, (*world).publishBurst},
		{"roll", 5, (*world).publishLarge},
		{"pause", 14, (*world).pauseShort},
		{"long pause", 4, (*world).pauseLong},
		{"settle", 6, (*world).quiesce},
		{"answer", 12, (*world).queueAnswers},
		{"mood", 6, (*world).changeMood},
		{"audit", 6, (*world).audit},
		{"acknowledge", 4, (*world).acknowledge},
		{"disk fault", 4, (*world).failDisk},
		{"disk full", 1, (*world).fillDisk},
		{"disk heals", 3, (*world).healDisk},
		{"empty letters", 1, (*world).emptyLetters},
		{"restart lane", 2, (*world).restartLane},
		{"damage", 2, (*world).damageLater},
		{"restart", 2, (*world).restart},
		{"cut soon", 6, (*world).cutSoon},
		{"cut", 5, (*world).cutNow},
		{"kill", 1, (*world).killNow},
	}
}

// steps is how many are drawn, some of which are nothing: a history has at
// least leastOperations.
const (
	steps           = 270
	leastOperations = 200
)

func drawScript(t *rapid.T) script {
	var byWeight []int
	for k, kind := range kinds() {
		for range kind.weight {
			byWeight = append(byWeight, k)
		}
	}
	one := rapid.Custom(func(t *rapid.T) step {
		return step{
			Kind: choose(byWeight, rapid.Uint32().Draw(t, "kind")),
			Who:  rapid.IntRange(0, 5).Draw(t, "who"),
			N:    rapid.IntRange(0, 9).Draw(t, "n"),
			Seed: uint64(rapid.Uint32().Draw(t, "seed")),
		}
	})
	return rapid.Custom(func(t *rapid.T) script {
		s := script{
			Segment: int64(rapid.SampledFrom([]int{16, 8, 4, 32}).Draw(t, "segment")) << 10,
			Bound:   int64(rapid.SampledFrom([]int{8 << 10, 8 << 10, 512}).Draw(t, "bound")) << 10,
			Letters: int64(rapid.SampledFrom([]int{1 << 20, 1 << 20, 1 << 20, 16 << 10}).Draw(t, "letters")),
			Shards:  rapid.Bool().Draw(t, "shards"),
			Harm:    rapid.Bool().Draw(t, "harm"),
			Steps:   make([]step, steps),
		}
		for i := range s.Steps {
			s.Steps[i] = one.Draw(t, "step")
		}
		return s
	}).Draw(t, "script")
}

// choose spreads what is drawn, since small numbers are drawn more often; 0
// is nothing.
func choose(kinds []int, drawn uint32) int {
	if drawn == 0 {
		return 0
	}
	h := (uint64(drawn) + 1) * 0x9e3779b97f4a7c15
	return kinds[(h>>32)%uint64(len(kinds))]
}

// String is the script as a failure shows it.
func (s script) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "segments of %d, journal of %d, dead letters of %d bytes, shards %t:", s.Segment, s.Bound, s.Letters, s.Shards)
	all := kinds()
	for _, x := range s.Steps {
		if all[x.Kind].do != nil {
			fmt.Fprintf(&b, "\n\t%s %d %d %d", all[x.Kind].name, x.Who, x.N, x.Seed)
		}
	}
	return b.String()
}

// GoString is String: what rapid prints of a draw.
func (s script) GoString() string { return s.String() }
