package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/penstock/penstock/broker/auth"
	"github.com/penstock/penstock/broker/packet"
	"github.com/penstock/penstock/broker/session"
)

// connect reads the CONNECT, decides, and answers it. After an error the
// connection is to be closed; it has been answered already.
func (c *conn) connect(ctx context.Context) error {
	deadline := time.Now().Add(connectPatience)
	if err := c.nc.SetDeadline(deadline); err != nil {
		return err
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	if err := c.handshake(ctx); err != nil {
		return err
	}
	first, body, err := c.firstPacket()
	if err != nil {
		return err
	}
	p := new(packet.Connect)
	if err := p.Decode(0, first, body); err != nil {
		if answer, v, ok := p.Refusal(err); ok {
			c.refuse(&answer, v)
		}
		return err
	}
	if err := c.open(ctx, p); err != nil {
		return err
	}
	return c.begun(p.KeepAlive)
}

// firstPacket reads until the first packet is complete; it is a CONNECT
// [MQTT-3.1.0-1].
func (c *conn) firstPacket() (first byte, body []byte, err error) {
	for {
		if err := c.await(); err != nil {
			return 0, nil, err
		}
		b := c.burst
		first, body, n, err := packet.Next(b.buf[b.r:b.w], c.srv.o.MaxPacket)
		switch {
		case err != nil:
			return 0, nil, err
		case b.buf[b.r]>>4 != byte(packet.TypeConnect):
			return 0, nil, fmt.Errorf("first packet is %s, not CONNECT", packet.TypeOf(b.buf[b.r]))
		case n > 0:
			b.r += n
			return first, body, nil
		}
	}
}

// open admits the client and gives it its session.
func (c *conn) open(ctx context.Context, p *packet.Connect) error {
	c.version = p.Version
	reason := c.admitClient(ctx, p)
	if reason == packet.Success && len(p.ClientID) == 0 && !mayBeAnonymous(p) {
		reason = packet.ClientIdentifierNotValid // [MQTT-3.1.3-8]
	}
	if reason != packet.Success {
		c.refuse(&packet.Connack{Reason: reason}, p.Version)
		return fmt.Errorf("refuse client %q: %s", p.ClientID, reason)
	}
	id := string(p.ClientID)
	if id == "" {
		id = "auto-" + rand.Text()
	}
	if p.HasWill {
		c.will = newWill(p, c.user)
	}
	limit, expiry := 1<<16-1, uint32(0)
	if p.Properties.Has(packet.PropReceiveMaximum) {
		limit = int(p.Properties.ReceiveMaximum)
	}
	c.problems = !p.Properties.Has(packet.PropRequestProblemInfo) || p.Properties.RequestProblemInfo != 0
	if p.Properties.Has(packet.PropMaximumPacketSize) {
		c.maxPacket = int(p.Properties.MaximumPacketSize)
	}
	switch {
	case p.Version >= packet.V5:
		expiry = p.Properties.SessionExpiry
	case !p.CleanStart:
		expiry = session.NeverExpires
	}
	return c.srv.attach(c, id, p, expiry, limit)
}

// mayBeAnonymous reports whether a client may leave its identifier to us: in
// 5.0 always, in 3.1.1 only with a clean session, in 3.1 never.
func mayBeAnonymous(p *packet.Connect) bool {
	return p.Version >= packet.V5 || p.Version == packet.V311 && p.CleanStart
}

// admitClient checks who the client is.
func (c *conn) admitClient(ctx context.Context, p *packet.Connect) packet.ReasonCode {
	if p.Properties.Has(packet.PropAuthMethod) {
		return packet.BadAuthenticationMethod // [MQTT-4.12.0-1]
	}
	if c.door.usernameFrom != "" {
		user, err := c.certificateUser()
		if err != nil {
			return packet.NotAuthorized
		}
		c.user = user
		return packet.Success
	}
	a := c.srv.auth.Load()
	if !p.HasUserName || a == nil {
		if !c.door.anonymous {
			return packet.NotAuthorized
		}
		return packet.Success
	}
	ok, err := a.Check(ctx, string(p.UserName), p.Password)
	switch {
	case errors.Is(err, auth.ErrBusy):
		return packet.ServerBusy
	case err != nil || !ok:
		return packet.BadUserNameOrPassword
	}
	c.user = string(p.UserName)
	return packet.Success
}

// refuse answers a CONNECT that is not accepted.
func (c *conn) refuse(answer *packet.Connack, v packet.Version) {
	if _, err := c.nc.Write(answer.AppendTo(nil, v)); err != nil {
		return
	}
	c.linger()
}

// acceptConnect puts the CONNACK into the output, as the first packet there
// [MQTT-3.2.0-1]. The client's mutex is held.
func (c *conn) acceptConnect(p *packet.Connect, id string, present bool) {
	answer := packet.Connack{SessionPresent: present}
	if c.version >= packet.V5 {
		q := &answer.Properties
		q.ReceiveMaximum = uint16(c.srv.o.ReceiveMaximum)
		q.MaximumPacketSize = uint32(c.srv.o.MaxPacket)
		q.TopicAliasMaximum = maxAliases
		q.Add(packet.PropReceiveMaximum | packet.PropMaximumPacketSize | packet.PropTopicAliasMaximum)
		if len(p.ClientID) == 0 {
			q.AssignedClientID = []byte(id) // [MQTT-3.1.3-7]
			q.Add(packet.PropAssignedClientID)
		}
	}
	var buf [64]byte
	c.out.append(&c.srv.pool, answer.AppendTo(buf[:0], c.version))
}

// begun sets the clocks of a client that has been accepted: it may be silent
// for one and a half times its keep alive [MQTT-3.1.2-22].
func (c *conn) begun(keepAlive uint16) error {
	c.flushOwn()
	c.patience = time.Duration(keepAlive) * time.Second * 3 / 2
	c.heardNow()
	deadline := time.Time{}
	if c.patience > 0 {
		deadline = time.Now().Add(c.patience)
	}
	err := errors.Join(c.nc.SetReadDeadline(deadline), c.nc.SetWriteDeadline(time.Time{}))
	if c.closing() { // hangUp's deadlines may have been overwritten
		return io.EOF
	}
	return err
}
