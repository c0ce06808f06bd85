package broker

// flush lets the burst's packets take effect: the journal first, so that what
// has no room there is neither delivered nor acknowledged; then subscribers,
// who do not wait for the sync (C10); then the client's acknowledgements.
func (c *conn) flush(b *burst) error {
	var err error
	if b.wanted > 0 {
		err = c.journal(b)
	} else {
		c.settle(b, b.pubs)
	}
	b.reset()
	if err != nil {
		return err
	}
	return c.pause(b)
}

// heardNow begins the client's keep-alive anew after its socket was not read
// for a while by our choice (C12).
func (c *conn) heardNow() { c.heard = c.srv.elapsed() }

// settle delivers publishes whose fate is known and acknowledges them.
func (c *conn) settle(b *burst, pubs []inPublish) {
	c.srv.retainAll(b, pubs)
	c.srv.deliver(b, pubs)
	b.startWriters()
	c.acknowledge(b, pubs)
	if b.awaits > 0 {
		c.awaitDelivered(pubs)
	}
	c.srv.show(b, pubs)
	c.count(b, pubs)
	c.flushOwn()
}

// startWriters starts the writers of the subscribers the burst has touched.
func (b *burst) startWriters() {
	for i, sub := range b.starts {
		sub.startWriter()
		b.starts[i] = nil
	}
	b.starts = b.starts[:0]
}

// count adds the burst's figures to the server's.
func (c *conn) count(b *burst, pubs []inPublish) {
	var in [3]int
	for i := range pubs {
		in[pubs[i].qos]++
		if pubs[i].verdict == refused {
			b.drops[dropRefused]++
		}
	}
	for q, n := range in {
		if n > 0 {
			c.srv.counts.in[q].Add(uint64(n))
		}
	}
	c.srv.counts.burst(b)
}

func (c *counters) burst(b *burst) {
	c.sent(&b.sent)
	for r, n := range b.drops {
		if n > 0 {
			c.drop(dropReason(r), n)
			b.drops[r] = 0
		}
	}
}
