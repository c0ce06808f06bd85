package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/penstock/penstock/broker/auth"
	"github.com/penstock/penstock/internal/app"
)

func (c *command) passwdCommand() *cobra.Command {
	var remove bool
	cmd := &cobra.Command{
		Use:   "passwd FILE USER",
		Short: "Set a user's password in a users file",
		Long: `Passwd asks for a password twice and writes its argon2id hash to the users file,
which it creates when it is missing. Without a terminal the password is the
first line of standard input. A running Penstock sees the change by itself.`,
		Example: "  penstock passwd users.txt press\n  echo \"$SECRET\" | penstock passwd users.txt press\n  penstock passwd --delete users.txt press",
		Args:    cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := auth.CheckUser(args[1]); err != nil {
				return &usageError{err}
			}
			if remove {
				return deleteUser(args[0], args[1])
			}
			return c.setUser(args[0], args[1])
		},
	}
	cmd.Flags().BoolVar(&remove, "delete", false, "remove the user instead")
	return cmd
}

func deleteUser(path, user string) error {
	found, err := auth.DeleteUser(path, user)
	if err != nil {
		return &app.EnvironmentError{Err: err}
	}
	if !found {
		return fmt.Errorf("%s has no user %q", path, user)
	}
	return nil
}

func (c *command) setUser(path, user string) error {
	password, err := c.password(user)
	if err != nil {
		return err
	}
	hash, err := auth.Hash(password)
	if err != nil {
		return err
	}
	if err := auth.SetUser(path, user, hash); err != nil {
		return &app.EnvironmentError{Err: err}
	}
	return nil
}

// password asks for a new password on a terminal, else reads one line.
func (c *command) password(user string) ([]byte, error) {
	if f, ok := c.stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return c.askPassword(f, user)
	}
	line, err := bufio.NewReader(c.stdin).ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read password: %w", err)
	}
	return checkPassword(bytes.TrimRight(line, "\r\n"))
}

func (c *command) askPassword(f *os.File, user string) ([]byte, error) {
	ask := func(prompt string) ([]byte, error) {
		fmt.Fprint(c.stderr, prompt)
		defer fmt.Fprintln(c.stderr)
		return term.ReadPassword(int(f.Fd()))
	}
	first, err := ask(fmt.Sprintf("Password for %s: ", user))
	if err != nil {
		return nil, fmt.Errorf("read password: %w", err)
	}
	second, err := ask("Once more: ")
	if err != nil {
		return nil, fmt.Errorf("read password: %w", err)
	}
	if !bytes.Equal(first, second) {
		return nil, errors.New("the two passwords differ; nothing was changed")
	}
	return checkPassword(first)
}

func checkPassword(p []byte) ([]byte, error) {
	if len(p) == 0 {
		return nil, errors.New("the password is empty; nothing was changed")
	}
	return p, nil
}
