package kafkatest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
)

// A listener is one address the broker accepts connections on.
type listener struct {
	name, protocol string
	advertise      bool // under a second port, where a Proxy may stand
}

// listeners are all the ways to connect, in the order of their ports.
var listeners = []listener{
	{name: "PLAIN", protocol: "PLAINTEXT"},
	{name: "SASL", protocol: "SASL_PLAINTEXT"},
	{name: "TLS", protocol: "SSL"},
	{name: "MTLS", protocol: "SSL"},
	{name: "SASLTLS", protocol: "SASL_SSL"},
	{name: "PROXIED", protocol: "PLAINTEXT", advertise: true},
	{name: "CONTROLLER", protocol: "PLAINTEXT"},
}

// ports gives every listener its address, PROXIED also the advertised one.
type ports struct {
	at    map[string]string
	proxy string
}

func choosePorts(preferred int) (ports, error) {
	p := ports{at: make(map[string]string)}
	taken := make(map[int]bool)
	for _, l := range listeners {
		want := 0
		if l.name == "PLAIN" {
			want = preferred
		}
		port, err := freePort(want, taken)
		if err != nil {
			return p, err
		}
		p.at[l.name] = address(port)
	}
	port, err := freePort(0, taken)
	p.proxy = address(port)
	return p, err
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// freePort looks below the range that the kernel draws client ports from: while
// the broker is down nobody else may come to sit on its port, nor may a client
// that calls it be answered by itself.
func freePort(preferred int, taken map[int]bool) (int, error) {
	for try := range 1000 {
		port := 20000 + rand.IntN(12000)
		if try == 0 && preferred != 0 {
			port = preferred
		}
		if taken[port] {
			continue
		}
		l, err := net.Listen("tcp", address(port))
		if err != nil {
			continue
		}
		l.Close()
		taken[port] = true
		return port, nil
	}
	return 0, fmt.Errorf("find a free port between 20000 and 32000 on 127.0.0.1")
}

// properties renders server.properties.
func (p ports) properties(dir string) string {
	var b strings.Builder
	line := func(key, value string) { fmt.Fprintf(&b, "%s=%s\n", key, value) }
	line("process.roles", "broker,controller")
	line("node.id", "1")
	line("controller.quorum.voters", "1@"+p.at["CONTROLLER"])
	line("listeners", join(func(l listener) string { return l.name + "://" + p.at[l.name] }))
	line("advertised.listeners", strings.TrimSuffix(join(p.advertised), ","))
	line("listener.security.protocol.map", join(func(l listener) string { return l.name + ":" + l.protocol }))
	line("inter.broker.listener.name", "PLAIN")
	line("controller.listener.names", "CONTROLLER")
	line("log.dirs", dir+"/data")
	for _, l := range []string{"sasl", "sasltls"} {
		p.sasl(line, "listener.name."+l+".")
	}
	line("sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512")
	line("ssl.keystore.type", "PEM")
	line("ssl.keystore.location", dir+"/keystore.pem")
	line("ssl.truststore.type", "PEM")
	line("ssl.truststore.location", dir+"/ca.pem")
	line("listener.name.mtls.ssl.client.auth", "required")
	b.WriteString(fixedProperties)
	return b.String()
}

// fixedProperties suit one node that starts and answers quickly.
const fixedProperties = `offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
num.network.threads=2
num.io.threads=4
log.retention.check.interval.ms=3600000
`

func (p ports) advertised(l listener) string {
	switch {
	case l.name == "CONTROLLER":
		return ""
	case l.advertise:
		return l.name + "://" + p.proxy
	}
	return l.name + "://" + p.at[l.name]
}

func (p ports) sasl(line func(key, value string), prefix string) {
	const module = "org.apache.kafka.common.security."
	line(prefix+"plain.sasl.jaas.config",
		module+`plain.PlainLoginModule required user_`+User+`="`+Password+`";`)
	for _, m := range []string{"scram-sha-256", "scram-sha-512"} {
		line(prefix+m+".sasl.jaas.config", module+"scram.ScramLoginModule required;")
	}
}

func join(f func(listener) string) string {
	parts := make([]string, len(listeners))
	for i, l := range listeners {
		parts[i] = f(l)
	}
	return strings.Join(parts, ",")
}
