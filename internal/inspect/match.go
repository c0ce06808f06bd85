package inspect

import "github.com/penstock/penstock/broker/topic"

// matches reports whether a message is asked for; an empty filter or client is
// any.
func matches(filter, client, itsTopic, itsClient string) bool {
	return (filter == "" || topic.Match(filter, itsTopic)) && (client == "" || client == itsClient)
}
