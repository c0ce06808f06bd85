package rules_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/rules"
)

// payload200 is 200 bytes of JSON, as devices send.
const payload200 = `{"machine":"press-17","line":"7","temp":91.25,"state":"run","speed":1200,"pressure":4.75,` +
	`"pos":{"x":1.5,"y":-2.25,"z":0},"flags":[1,0,1,1],"ts":1767225600123,"ok":true,"operator":"Maria","note":null}`

const (
	benchWhere = `payload.temp > 80 && payload.state == "run"`
	benchValue = `{line: line, machine: machine, temp: payload.temp, speed: payload.speed, at: received, by: client}`
)

func benchRule(name, from, where, value string) rules.Config {
	return rules.Config{
		Name: name, From: []string{from}, Where: where,
		To: []rules.OutputConfig{{Sink: "kafka", Topic: "telemetry.{line}", Key: "{machine}", Value: value}},
	}
}

func benchmark(b *testing.B, cfg rules.Config) {
	set := compile(b, cfg)
	e := set.Evaluator("kafka")
	m := publish("plant/7/press/telemetry", payload200)
	var out message.Outcome
	want := 1
	if e.Evaluate(1, m, &out); out.Filtered {
		want = 0
	}
	b.ReportAllocs()
	for b.Loop() {
		out.Reset()
		m.Received++
		m.ID.Offset++
		e.Evaluate(1, m, &out)
		if len(out.Records) != want || len(out.Errors) > 0 {
			b.Fatal(outcome(&out))
		}
	}
}

const benchFrom = "plant/{line}/{machine}/telemetry"

func BenchmarkFilterMet(b *testing.B) { benchmark(b, benchRule("r", benchFrom, benchWhere, "")) }
func BenchmarkFilterNot(b *testing.B) {
	benchmark(b, benchRule("r", benchFrom, "payload.temp > 95", ""))
}

func BenchmarkMap6(b *testing.B)        { benchmark(b, benchRule("r", benchFrom, benchWhere, benchValue)) }
func BenchmarkPassthrough(b *testing.B) { benchmark(b, benchRule("r", benchFrom, "", "")) }
func BenchmarkTopicOnly(b *testing.B)   { benchmark(b, benchRule("r", benchFrom, `line == "8"`, "")) }

func BenchmarkMap6Computed(b *testing.B) {
	benchmark(b, benchRule("r", benchFrom, `payload.temp * 1.8 + 32 > 100`,
		`{line: int(line), machine: upper(machine), temp: round(payload.temp, 1), fast: payload.speed > 1000, at: received, x: payload.pos.x ?? 0}`))
}

// BenchmarkWhole decodes all of the payload and writes it again.
func BenchmarkWhole(b *testing.B) { benchmark(b, benchRule("r", benchFrom, "", "payload")) }

// BenchmarkRules is the whole way of a message, Want and Evaluate, through one
// rule and through one of 10,000.
func BenchmarkRules(b *testing.B) {
	for _, n := range []int{1, 10_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			cfgs := make([]rules.Config, n)
			for i := range cfgs {
				cfgs[i] = benchRule(fmt.Sprintf("r-%d", i), fmt.Sprintf("plant%d/{line}/{machine}/telemetry", i), benchWhere, benchValue)
			}
			set := compile(b, cfgs...)
			e := set.Evaluator("kafka")
			m := publish(fmt.Sprintf("plant%d/7/press/telemetry", n/2), payload200)
			var out message.Outcome
			var wanted []uint32
			b.ReportAllocs()
			for b.Loop() {
				out.Reset()
				m.Received++
				wanted, _ = set.Want(m.Topic, wanted[:0])
				e.Evaluate(wanted[0], m, &out)
				if len(out.Records) != 1 {
					b.Fatal(outcome(&out))
				}
			}
		})
	}
}

func BenchmarkWant(b *testing.B) {
	cfgs := make([]rules.Config, 10_000)
	for i := range cfgs {
		cfgs[i] = benchRule(fmt.Sprintf("r-%d", i), fmt.Sprintf("plant%d/{line}/{machine}/telemetry", i), "", "")
	}
	set := compile(b, cfgs...)
	var wanted []uint32
	b.ReportAllocs()
	for b.Loop() {
		if wanted, _ = set.Want("plant4711/7/press/telemetry", wanted[:0]); len(wanted) != 1 {
			b.Fatal(wanted)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, problems := rules.Compile([]rules.Config{benchRule("r", benchFrom, benchWhere, benchValue)}, sinks); problems != nil {
			b.Fatal(problems)
		}
	}
}
