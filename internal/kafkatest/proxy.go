package kafkatest

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
)

// A Proxy stands before a broker: clients that begin at Addr are told to come
// back there, and answers to produce requests get lost on the way when asked for.
type Proxy struct {
	Addr string

	listener net.Listener
	target   string
	ended    sync.WaitGroup

	mu    sync.Mutex
	lose  int // guarded by mu: answers still to be lost
	lost  int // guarded by mu
	conns map[net.Conn]bool
}

// Proxy starts the broker's proxy, which ends with the test. A broker has one
// at a time.
func (b *Broker) Proxy(t testing.TB) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", b.ports.proxy)
	if err != nil {
		t.Fatalf("start proxy: %v", err)
	}
	p := &Proxy{Addr: b.ports.proxy, listener: l, target: b.ports.at["PROXIED"], conns: make(map[net.Conn]bool)}
	p.ended.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// LoseAnswers makes the next n answers to produce requests get lost: the broker
// has done its work, the client sees its connection end.
func (p *Proxy) LoseAnswers(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lose = n
}

// Lost returns how many answers were lost, for a test to see that it happened.
func (p *Proxy) Lost() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lost
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			client.Close()
			continue
		}
		p.track(client, server)
		p.ended.Go(func() {
			_ = p.forward(client, server)
			client.Close()
			server.Close()
		})
	}
}

func (p *Proxy) track(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.conns[c] = true
	}
}

// forward carries one request and its answer at a time, which is how kafka-go
// uses a connection.
func (p *Proxy) forward(client, server net.Conn) error {
	for {
		produce, err := forwardFrame(server, client)
		if err != nil {
			return err
		}
		var dst io.Writer = client
		lose := produce && p.loseOne()
		if lose {
			dst = io.Discard
		}
		if _, err := forwardFrame(dst, server); err != nil {
			return err
		}
		if lose {
			return io.ErrClosedPipe
		}
	}
}

func (p *Proxy) loseOne() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lose == 0 {
		return false
	}
	p.lose--
	p.lost++
	return true
}

// forwardFrame copies a frame with its length; produce: it begins with key 0.
func forwardFrame(dst io.Writer, src io.Reader) (produce bool, err error) {
	var head [6]byte
	if _, err := io.ReadFull(src, head[:]); err != nil {
		return false, err
	}
	if _, err := dst.Write(head[:]); err != nil {
		return false, err
	}
	n := int64(binary.BigEndian.Uint32(head[:])) - 2
	_, err = io.CopyN(dst, src, n)
	return binary.BigEndian.Uint16(head[4:]) == 0, err
}

func (p *Proxy) close() {
	p.listener.Close()
	p.mu.Lock()
	for c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.ended.Wait()
}
