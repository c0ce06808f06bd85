// Command penstock bridges MQTT devices to Kafka and files: an MQTT broker, a
// durable journal, rules, and one lane for each destination, in one process.
package main

import (
	"context"
	"os"
	_ "time/tzdata" // rules may name time zones, and a bare container has none
)

func main() {
	c := command{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ()}
	os.Exit(c.run(context.Background(), os.Args[1:]))
}
