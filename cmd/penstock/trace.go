package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/rules"
)

func (c *command) traceCommand() *cobra.Command {
	var m message.Message
	var payload string
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "trace FILE|FOLDER...",
		Short:   "Take one message through all rules and show each step; nothing is sent",
		Example: `  penstock trace plant.yaml --topic plant/7/press/telemetry --payload '{"temp": 91, "state": "run"}'`,
		Args:    usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			loaded, err := c.load(args)
			if err != nil {
				return err
			}
			m.Payload, m.Received = []byte(payload), time.Now().UnixMilli()
			x := loaded.Set.Explain(&m)
			if asJSON {
				return printJSON[rules.Explanation](c.stdout)(&x)
			}
			return x.WriteText(c.stdout)
		},
	}
	f := cmd.Flags()
	f.StringVar(&m.Topic, "topic", "", "the message's topic")
	f.StringVar(&payload, "payload", "", "its payload")
	f.StringVar(&m.Client, "client", "", "its publisher")
	f.StringVar(&m.User, "user", "", "the name the publisher was admitted under")
	f.Uint8Var(&m.QoS, "qos", 0, "its QoS")
	f.BoolVar(&m.Retain, "retain", false, "it is retained")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	_ = cmd.MarkFlagRequired("topic")
	return cmd
}
