package topic_test

import (
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/broker/topic"
)

func sorted[T int | string](s []T) []T {
	slices.Sort(s)
	return s
}

func TestTree(t *testing.T) {
	var tree topic.Tree[string]
	for filter := range matches() {
		if !tree.Insert(filter, filter) || tree.Insert(filter, filter) {
			t.Errorf("%s: not new, or twice", filter)
		}
	}
	if n := len(matches()); tree.Len() != n {
		t.Errorf("%d values, want %d", tree.Len(), n)
	}
	each(func(_, name string, _ bool) {
		var want []string
		for filter := range matches() {
			if naive(filter, name) {
				want = append(want, filter)
			}
		}
		if diff := cmp.Diff(sorted(want), sorted(tree.Match(name, nil))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	})
	if got := tree.Match("", nil); got != nil {
		t.Errorf("the empty name matches %v", got)
	}
	for filter := range matches() {
		if tree.Remove(filter, "other") || !tree.Remove(filter, filter) || tree.Remove(filter, filter) {
			t.Errorf("%s: did not go once", filter)
		}
	}
	if tree.Len() != 0 || tree.Remove("x/y", "z") {
		t.Errorf("%d values left", tree.Len())
	}
}

// TestTreeAppends keeps what the caller had.
func TestTreeAppends(t *testing.T) {
	var tree topic.Tree[int]
	tree.Insert("a", 2)
	if diff := cmp.Diff([]int{1, 2}, tree.Match("a", []int{1})); diff != "" {
		t.Error(diff)
	}
}

// TestTreeCopies inserts filters that are overwritten afterwards, as views
// into a read buffer are.
func TestTreeCopies(t *testing.T) {
	var tree topic.Tree[int]
	var kept topic.Retained[int]
	buffer := []byte("first/level")
	view := func() string { return unsafeString(buffer) }
	tree.Insert(view(), 1)
	kept.Set(view(), 1)
	copy(buffer, "other/thing")
	if len(tree.Match("first/level", nil)) != 1 {
		t.Error("the tree held on to the caller's bytes")
	}
	if diff := cmp.Diff([]string{"first/level"}, names(&kept, "#")); diff != "" {
		t.Error(diff)
	}
}

// word makes filters and names of few levels, so that they often meet.
func word(wild bool) *rapid.Generator[string] {
	levels := []string{"", "a", "b", "c", "$s", "d", "e", "f", "g", "h", "i", "j", "k"}
	if wild {
		levels = append([]string{"+", "+"}, levels...)
	}
	return rapid.Custom(func(t *rapid.T) string {
		s := strings.Join(rapid.SliceOfN(rapid.SampledFrom(levels), 1, 4).Draw(t, "levels"), "/")
		if wild && rapid.IntRange(0, 3).Draw(t, "hash") == 0 {
			s += "/#"
		}
		return s
	}).Filter(func(s string) bool { return s != "" })
}

// TestTreeModel checks random histories of a tree against a list of pairs.
func TestTreeModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type pair struct {
			filter string
			value  int
		}
		var tree topic.Tree[int]
		model := map[pair]bool{}
		draw := func(t *rapid.T) pair {
			return pair{word(true).Draw(t, "filter"), rapid.IntRange(0, 80).Draw(t, "value")}
		}
		t.Repeat(map[string]func(*rapid.T){
			"insert": func(t *rapid.T) {
				p := draw(t)
				if tree.Insert(p.filter, p.value) == model[p] {
					t.Fatalf("insert %v: there already is %v", p, model[p])
				}
				model[p] = true
			},
			"insert many": func(t *rapid.T) {
				p := draw(t)
				for p.value = range 70 {
					tree.Insert(p.filter, p.value)
					model[p] = true
				}
			},
			"remove": func(t *rapid.T) {
				p := draw(t)
				if tree.Remove(p.filter, p.value) != model[p] {
					t.Fatalf("remove %v: there is %v", p, model[p])
				}
				delete(model, p)
			},
			"remove many": func(t *rapid.T) {
				for p := range model {
					if p.value%8 != 0 {
						tree.Remove(p.filter, p.value)
						delete(model, p)
					}
				}
			},
			"": func(t *rapid.T) {
				name := word(false).Draw(t, "name")
				var want []int
				for p := range model {
					if naive(p.filter, name) {
						want = append(want, p.value)
					}
				}
				if diff := cmp.Diff(sorted(want), sorted(tree.Match(name, nil))); diff != "" {
					t.Fatalf("%s: %s", name, diff)
				}
				if tree.Len() != len(model) {
					t.Fatalf("%d values, want %d", tree.Len(), len(model))
				}
			},
		})
	})
}

// TestTreeManyValues uses the index that one filter's many values have.
func TestTreeManyValues(t *testing.T) {
	var tree topic.Tree[int]
	order := rand.New(rand.NewSource(1)).Perm(500)
	for _, v := range order {
		tree.Insert("a/+", v)
	}
	for i, v := range order {
		if !tree.Remove("a/+", v) || tree.Remove("a/+", v) || len(tree.Match("a/b", nil)) != len(order)-i-1 {
			t.Fatalf("removing %d", v)
		}
	}
}

// TestTreeReaders matches from several goroutines at once, as under a read
// lock; the race detector watches.
func TestTreeReaders(t *testing.T) {
	tree, topics := bigTree()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var dst []int
			for _, name := range topics[:200] {
				dst = tree.Match(name, dst[:0])
				if len(dst) == 0 {
					t.Errorf("%s matches nothing", name)
				}
			}
		})
	}
	wg.Wait()
}

func TestMatchAllocatesNothing(t *testing.T) {
	tree, topics := bigTree()
	tree.Insert("#", -1)
	tree.Insert("+/+/#", -2)
	dst := make([]int, 0, 64)
	i := 0
	if n := testing.AllocsPerRun(1000, func() {
		dst = tree.Match(topics[i%len(topics)], dst[:0])
		i++
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// bigTree holds 10,000 filters: a fleet of lines, machines and values, every
// tenth filter with a wildcard, and names that match at least one each.
func bigTree() (*topic.Tree[int], []string) {
	tree := new(topic.Tree[int])
	var topics []string
	for i := range 10000 {
		line, machine := i/100, i%100
		filter := fmt.Sprintf("factory/line%d/machine%d/temperature", line, machine)
		topics = append(topics, filter)
		switch i % 20 {
		case 0:
			filter = fmt.Sprintf("factory/line%d/machine%d/+", line, machine)
		case 10:
			filter = fmt.Sprintf("factory/line%d/machine%d/#", line, machine)
		}
		tree.Insert(filter, i)
	}
	return tree, topics
}

func BenchmarkTreeMatch(b *testing.B) {
	tree, topics := bigTree()
	dst := make([]int, 0, 64)
	run := func(b *testing.B, next func(i int) string) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			dst = tree.Match(next(i), dst[:0])
			i++
		}
	}
	b.Run("10000 filters", func(b *testing.B) {
		run(b, func(i int) string { return topics[i*7919%len(topics)] })
	})
	b.Run("10000 filters, one name", func(b *testing.B) {
		run(b, func(int) string { return topics[4711] })
	})
	b.Run("10000 filters, none matches", func(b *testing.B) {
		run(b, func(int) string { return "factory/line17/machine100/temperature" })
	})
	for _, filter := range []string{"#", "+/+/+/temperature", "factory/+/machine7/#"} {
		tree.Insert(filter, -1)
	}
	b.Run("10000 filters and wildcards above", func(b *testing.B) {
		run(b, func(i int) string { return topics[i*7919%len(topics)] })
	})
}

func BenchmarkTreeInsertRemove(b *testing.B) {
	tree, _ := bigTree()
	b.ReportAllocs()
	for b.Loop() {
		tree.Insert("factory/line17/machine100/+", 1)
		tree.Remove("factory/line17/machine100/+", 1)
	}
}

func BenchmarkMatch(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		topic.Match("factory/+/machine7/#", "factory/line17/machine7/temperature")
	}
}
