package topic_test

import (
	"fmt"
	"maps"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/broker/topic"
)

// unsafeString is a string that changes with its bytes, as no string should.
func unsafeString(b []byte) string { return unsafe.String(&b[0], len(b)) }

// names returns the names a filter finds, sorted.
func names[V any](r *topic.Retained[V], filter string) []string {
	var found []string
	for name := range r.Match(filter) {
		found = append(found, name)
	}
	return sorted(found)
}

func TestRetained(t *testing.T) {
	var kept topic.Retained[int]
	if _, replaced := kept.Set("a/b", 1); replaced {
		t.Error("replaced nothing")
	}
	if old, replaced := kept.Set("a/b", 2); !replaced || old != 1 {
		t.Errorf("replaced %d, %v", old, replaced)
	}
	if v, ok := kept.Get("a/b"); !ok || v != 2 {
		t.Errorf("got %d, %v", v, ok)
	}
	for _, name := range []string{"a", "a/b/c", "x"} {
		if _, ok := kept.Get(name); ok {
			t.Errorf("%s has a value", name)
		}
		if _, ok := kept.Delete(name); ok {
			t.Errorf("%s had a value", name)
		}
	}
	if kept.Len() != 1 {
		t.Errorf("%d values", kept.Len())
	}
	if old, ok := kept.Delete("a/b"); !ok || old != 2 || kept.Len() != 0 {
		t.Errorf("deleted %d, %v; %d values left", old, ok, kept.Len())
	}
}

func TestRetainedMatch(t *testing.T) {
	each(func(filter, name string, want bool) {
		var kept topic.Retained[bool]
		kept.Set(name, true)
		kept.Set("other/name/of/five/levels", true)
		kept.Delete("other/name/of/five/levels")
		if got := len(names(&kept, filter)) == 1; got != want {
			t.Errorf("%s finds %s: %v", filter, name, got)
		}
	})
}

// TestRetainedStop ends the iteration at every place.
func TestRetainedStop(t *testing.T) {
	var kept topic.Retained[int]
	for i := range 20 {
		kept.Set(fmt.Sprintf("a/%d", i), i)
		kept.Set(fmt.Sprintf("a/%d/x", i), i)
	}
	for _, filter := range []string{"#", "a/+", "+/#", "a/+/x"} {
		all := len(names(&kept, filter))
		for stop := 1; stop <= all; stop++ {
			n := 0
			for range kept.Match(filter) {
				if n++; n == stop {
					break
				}
			}
			if n != stop {
				t.Errorf("%s: %d values, want %d", filter, n, stop)
			}
		}
	}
}

// TestRetainedModel checks random histories against a map.
func TestRetainedModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var kept topic.Retained[int]
		model := map[string]int{}
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				name, value := word(false).Draw(t, "name"), rapid.Int().Draw(t, "value")
				was, there := model[name]
				if old, replaced := kept.Set(name, value); old != was || replaced != there {
					t.Fatalf("set %s: %d, %v; want %d, %v", name, old, replaced, was, there)
				}
				model[name] = value
			},
			"delete": func(t *rapid.T) {
				name := word(false).Draw(t, "name")
				was, there := model[name]
				if old, ok := kept.Delete(name); old != was || ok != there {
					t.Fatalf("delete %s: %d, %v; want %d, %v", name, old, ok, was, there)
				}
				delete(model, name)
			},
			"": func(t *rapid.T) {
				filter := word(true).Draw(t, "filter")
				want := map[string]int{}
				for name, value := range model {
					if naive(filter, name) {
						want[name] = value
					}
				}
				got := maps.Collect(kept.Match(filter))
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("%s: %s", filter, diff)
				}
				if kept.Len() != len(model) {
					t.Fatalf("%d values, want %d", kept.Len(), len(model))
				}
			},
		})
	})
}

func BenchmarkRetainedMatch(b *testing.B) {
	var kept topic.Retained[int]
	_, topics := bigTree()
	for i, name := range topics {
		kept.Set(name, i)
	}
	for _, filter := range []string{"factory/line17/machine7/temperature", "factory/+/machine7/temperature", "factory/line17/#"} {
		b.Run(filter, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				for range kept.Match(filter) {
					n++
				}
			}
			if n == 0 {
				b.Fatal("nothing found")
			}
		})
	}
}
