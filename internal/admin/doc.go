// Package admin is the HTTP server through which a running Penstock answers:
// health and metrics for machines, commands for people.
//
//	GET  /healthz        200 while nothing is broken for good, else 503 and why
//	GET  /readyz         200 when every lane works, else 503; each lane with its reason
//	GET  /metrics        Prometheus
//	GET  /v1/<command>   a question: status, why, tap, ...
//	POST /v1/<command>   a change: reload, lane/pause, dlq/redrive, ...
//
// It listens on a unix socket that only its owner may open, and over TCP when
// the configuration says so: there the commands need the token, and without a
// token there are none.
//
// A command answers with JSON lines, as they come, and the last line says how
// it ended: `{"end":{}}`, or `{"end":{"error":"...","kind":"..."}}`.
package admin
