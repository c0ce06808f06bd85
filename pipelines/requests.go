package pipelines

import "context"

// A request is something that the lane's goroutine does for somebody else,
// between two turns.
type request struct {
	do   func()
	done chan struct{}
}

func (r request) serve() {
	r.do()
	close(r.done)
}

// ask has the lane's goroutine do something and waits for it. Once Run has
// returned nobody else owns the lane, and it is done here. The error is ctx's:
// then nothing was done.
func (l *Lane) ask(ctx context.Context, do func()) error {
	r := request{do, make(chan struct{})}
	select {
	case l.requests <- r:
		<-r.done
		return nil
	case <-l.ended:
		l.afterwards.Lock()
		defer l.afterwards.Unlock()
		do()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
