package config

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/penstock/penstock/broker"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/internal/problem"
	"github.com/penstock/penstock/rules"
)

// maxName is the length of the longest name.
const maxName = 64

// validate asks every part about its own configuration. What only follows from
// a complaint about the text of the files is not repeated.
func (l *loader) validate() {
	if l.loaded.index.unread {
		return // most would be called missing
	}
	c := &l.loaded.Config
	l.add("", l.emptyListeners())
	l.add("listeners", l.listeners())
	l.add("auth", c.Auth.Validate())
	l.add("admin", c.Admin.Validate())
	l.warn("admin", c.Admin.Warnings())
	l.add("journal", c.Journal.Validate())
	l.add("", l.record())
	l.add("limits", l.limits())
	l.add("dead_letters", l.deadLetters())
	l.names("sink", "sinks", len(c.Sinks), func(i int) string { return c.Sinks[i].Name })
	l.names("rule", "rules", len(c.Rules), func(i int) string { return c.Rules[i].Name })
	for i, s := range c.Sinks {
		l.sink(fmt.Sprintf("sinks[%d]", i), s)
	}
	l.rules()
	l.warn("", l.deliveryWarnings())
}

// add places complaints about what is below a path.
func (l *loader) add(prefix string, list problem.List) {
	for _, p := range list.Under(prefix) {
		if !l.loaded.index.consequence(p) {
			l.problems = append(l.problems, l.loaded.index.locate(p))
		}
	}
}

// warn places what is allowed but probably not meant below a path.
func (l *loader) warn(prefix string, list problem.List) {
	for _, p := range list.Under(prefix) {
		l.loaded.Warnings = append(l.loaded.Warnings, l.loaded.index.locate(p))
	}
}

// emptyListeners refuses a list that would leave nothing to connect to.
func (l *loader) emptyListeners() problem.List {
	if len(l.loaded.Config.Listeners) > 0 {
		return nil
	}
	return problem.List{problem.New("listeners", "there is no listener").
		WithHint("leave the key out to listen on %s", defaultBind)}
}

// listeners checks the listeners. When `auth` could not be read, nothing is
// said about listeners that only it would protect.
func (l *loader) listeners() problem.List {
	a := l.loaded.Config.Auth
	if l.loaded.index.lost("auth") {
		anybody := true
		a.Anonymous = &anybody
	}
	return broker.CheckListeners(l.loaded.Config.Listeners, a)
}

// names checks the names of one kind of things: form, and each once.
func (l *loader) names(kind, list string, n int, name func(int) string) {
	first := map[string]string{}
	for i := range n {
		path := fmt.Sprintf("%s[%d].name", list, i)
		var found problem.List
		if before, twice := first[name(i)]; twice && name(i) != "" {
			found = problem.List{l.sameName(kind, name(i), before, path)}
		} else {
			found = checkName(kind, name(i), path)
		}
		l.add("", found)
		first[name(i)] = path
	}
}

// sameName names both places.
func (l *loader) sameName(kind, name, before, path string) problem.Problem {
	p := problem.New(path, "another %s is named %q", kind, name)
	if at, ok := l.loaded.Locate(before); ok {
		p.Message += fmt.Sprintf(" at %s:%d:%d", at.File, at.Line, at.Column)
	}
	return p.WithHint("names are unique among the %ss", kind)
}

// checkName applies the rules for names.
func checkName(kind, name, path string) problem.List {
	bad := func(format string, args ...any) problem.List {
		return problem.List{problem.New(path, format, args...).WithHint("a name is made of a-z, 0-9 and -, at most %d characters", maxName)}
	}
	switch {
	case name == "" && kind == "rule":
		return nil // the rules say so themselves
	case name == "":
		return bad("the %s has no name", kind)
	case len(name) > maxName:
		return bad("the name is %d characters long", len(name))
	case !regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`).MatchString(name):
		return bad("%q cannot be a name", name)
	case kind == "sink" && name == "broker":
		return problem.List{problem.New(path, "the name \"broker\" is reserved").WithHint("choose another name")}
	}
	return nil
}

// sink checks that a sink has one kind, and asks that and the delivery.
func (l *loader) sink(path string, s SinkConfig) {
	l.add(path, l.oneKind(path, s))
	if s.Kafka != nil {
		l.add(path+".kafka", s.Kafka.Validate())
	}
	if s.File != nil {
		l.add(path+".file", s.File.Validate())
	}
	if s.Stdout != nil {
		l.add(path+".stdout", s.Stdout.Validate())
	}
	l.add(path+".delivery", s.Delivery.Validate())
	l.add(path+".delivery", l.orderOfKafka(s))
}

// orderOfKafka refuses an order where the record key is it (I3).
func (l *loader) orderOfKafka(s SinkConfig) problem.List {
	if s.Kafka == nil || s.Delivery.Order == "" {
		return nil
	}
	p := problem.New("order", "the order of a kafka sink is the record key, which decides the partition")
	p.Key = true
	return problem.List{p.WithHint("leave order out, and give the outputs to %s the key that must stay in order", s.Name)}
}

// kinds returns the kinds of sinks: the keys of SinkConfig that are pointers.
func kinds() []string {
	var names []string
	for _, f := range fieldsOf(reflect.TypeFor[SinkConfig]()) {
		if f.typ.Kind() == reflect.Pointer {
			names = append(names, f.key)
		}
	}
	return names
}

// written returns the kinds that a sink has, whether they could be read or
// not, in the order they were written.
func (l *loader) written(path string) []string {
	var found []string
	at := func(kind string) int { return l.loaded.index.places[path+"."+kind].key }
	for _, kind := range kinds() {
		if _, ok := l.loaded.index.places[path+"."+kind]; ok || l.loaded.index.broken[path+"."+kind] {
			found = append(found, kind)
		}
	}
	slices.SortFunc(found, func(a, b string) int { return at(a) - at(b) })
	return found
}

func (l *loader) oneKind(path string, s SinkConfig) problem.List {
	found := l.written(path)
	switch len(found) {
	case 0:
		if l.loaded.index.strange[path] {
			return nil // the unknown key was meant as the kind
		}
		return problem.List{problem.New("", "the sink %q has no kind", s.Name).
			WithHint("add one of the keys %s", strings.Join(kinds(), ", "))}
	case 1:
		return nil
	}
	p := problem.New(found[1], "the sink %q is of kind %q already", s.Name, found[0]).
		WithHint("a sink has one kind; write a second sink for the other")
	p.Key = true
	return problem.List{p}
}

// rules compiles the rules and keeps their warnings.
func (l *loader) rules() {
	c := &l.loaded.Config
	sinks := make([]rules.Sink, len(c.Sinks))
	for i, s := range c.Sinks {
		sinks[i] = l.ruleSink(fmt.Sprintf("sinks[%d]", i), s)
	}
	set, problems := rules.Compile(c.Rules, sinks)
	problems = slices.DeleteFunc(problems, func(p problem.Problem) bool { // names were checked above
		return p.Path == parent(p.Path)+".name" && strings.HasSuffix(parent(p.Path), "]") && parent(parent(p.Path)) == ""
	})
	inRules, inSinks := l.split(problems)
	l.add("rules", l.withoutLostSinks(inRules))
	l.add("", inSinks)
	l.add("", l.levels())
	l.loaded.Set = set
	if set == nil {
		return
	}
	set.SetDefaultAck(DefaultAck(&l.loaded.Config.Journal))
	l.warn("rules", set.Warnings())
}

// DefaultAck is the level of rules that name none, and of recorded messages
// that no rule wants (C9).
func DefaultAck(c *journal.Config) message.AckLevel {
	if sync, err := journal.ParseSync(c.Sync); err == nil && sync.Weak() {
		return message.AckReceived
	}
	return message.AckStored
}

// weak says whether the journal does not sync before it acknowledges.
func (l *loader) weak() bool {
	sync, err := journal.ParseSync(l.loaded.Config.Journal.Sync)
	return err == nil && sync.Weak()
}

// split parts the complaints about rules from those about the sinks' order
// templates, which the rules compile, and gives the latter their paths.
func (l *loader) split(problems problem.List) (inRules, inSinks problem.List) {
	for _, p := range problems {
		if sink, ok := strings.CutSuffix(p.Path, ".order"); ok && strings.HasPrefix(sink, "sinks[") {
			p.Path = sink + ".delivery.order"
			inSinks = append(inSinks, p)
		} else {
			inRules = append(inRules, p)
		}
	}
	return inRules, inSinks
}

// levels refuses a rule that asks for `stored` or more where nothing is synced
// before it is acknowledged (C9: only an explicit level is an error).
func (l *loader) levels() problem.List {
	if !l.weak() {
		return nil
	}
	var found problem.List
	for i, r := range l.loaded.Config.Rules {
		if level := r.Ack.Level; level == message.AckStored.String() || level == message.AckDelivered.String() {
			found = append(found, problem.New(fmt.Sprintf("rules[%d].ack.level", i), "the journal's sync is %q, which cannot promise %q", l.loaded.Config.Journal.Sync, level).
				WithHint("leave ack out for \"received\", or set journal: {sync: group}"))
		}
	}
	return found
}

// ruleSink returns what the rules must know of a sink. What could not be read
// is made up so that the rules do not complain about it.
func (l *loader) ruleSink(path string, s SinkConfig) rules.Sink {
	sink := rules.Sink{Name: s.Name, Kind: "file", Order: s.Delivery.Order}
	if found := l.written(path); len(found) > 0 {
		sink.Kind = found[0]
	}
	if s.Kafka != nil {
		sink.Topic = s.Kafka.Topic
	}
	if l.loaded.index.broken[path+".kafka"] || l.loaded.index.broken[path+".kafka.topic"] {
		sink.Topic = "unknown"
	}
	return sink
}

// withoutLostSinks drops complaints about the names of sinks when one of the
// sinks could not be read.
func (l *loader) withoutLostSinks(list problem.List) problem.List {
	unnamed := regexp.MustCompile(`^sinks(\[\d+\](\.name)?)?$`)
	for path := range l.loaded.index.broken {
		if unnamed.MatchString(path) {
			return slices.DeleteFunc(list, func(p problem.Problem) bool { return strings.HasSuffix(p.Path, ".sink") })
		}
	}
	return list
}
