package auth_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/bcrypt"

	"github.com/penstock/penstock/broker/auth"
)

// usersFile writes a users file and returns its path.
func usersFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func argon(t *testing.T, password string) string {
	t.Helper()
	h, err := auth.Hash([]byte(password))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func bcrypted(t *testing.T, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

func check(t *testing.T, a *auth.Authenticator, user, password string) bool {
	t.Helper()
	ok, err := a.Check(t.Context(), user, []byte(password))
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

func TestCheck(t *testing.T) {
	b := bcrypted(t, "b-secret")
	file := usersFile(t, "# people\n\nann:"+argon(t, "a-secret")+"\nbob:"+b+"\ncarl:$2y$"+b[4:]+"\n"+
		// RFC 9106 names the scheme; made with the reference implementation's defaults for "password", salt "somesalt".
		"ref:$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc\n")
	a, err := auth.Open(auth.Config{UsersFile: file})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time from the cache
		for _, c := range []struct {
			user, password string
			want           bool
		}{
			{"ann", "a-secret", true},
			{"bob", "b-secret", true},
			{"carl", "b-secret", true},
			{"ref", "password", true},
			{"ann", "b-secret", false},
			{"ann", "", false},
			{"", "a-secret", false},
			{"annx", "a-secret", false},
			{"an", "na-secret", false},
		} {
			if got := check(t, a, c.user, c.password); got != c.want {
				t.Errorf("%q with %q: %v", c.user, c.password, got)
			}
		}
	}
}

func TestNoUsersFile(t *testing.T) {
	a, err := auth.Open(auth.Config{})
	if a != nil || err != nil {
		t.Errorf("got %v, %v", a, err)
	}
}

// A remembered credential costs no hash, and is forgotten with the file.
func TestCacheAndReload(t *testing.T) {
	file := usersFile(t, "ann:"+bcrypted(t, "old")+"\n")
	a, err := auth.Open(auth.Config{UsersFile: file})
	if err != nil {
		t.Fatal(err)
	}
	check(t, a, "ann", "old")
	if err := auth.SetUser(file, "ann", bcrypted(t, "new")); err != nil {
		t.Fatal(err)
	}
	if err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	if check(t, a, "ann", "old") || !check(t, a, "ann", "new") {
		t.Error("the old password is still in force")
	}
	if err := os.WriteFile(file, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := a.Reload(); err == nil || a.Err() == nil {
		t.Error("a bad file was accepted")
	}
	if !check(t, a, "ann", "new") {
		t.Error("a bad file took the users away")
	}
}

// Who waits for a hash gives up with its context; who is remembered waits for
// nobody.
func TestBusy(t *testing.T) {
	file := usersFile(t, "ann:"+argon(t, "secret")+"\n")
	a, err := auth.Open(auth.Config{UsersFile: file})
	if err != nil {
		t.Fatal(err)
	}
	check(t, a, "ann", "secret")
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	busy := make(chan error, 64)
	for i := range 64 {
		wg.Go(func() {
			_, err := a.Check(ctx, "ann", []byte{byte(i)})
			busy <- err
		})
	}
	if !check(t, a, "ann", "secret") {
		t.Error("the remembered one was refused")
	}
	cancel()
	wg.Wait()
	close(busy)
	n := 0
	for err := range busy {
		if errors.Is(err, auth.ErrBusy) {
			n++
		}
	}
	if n == 0 {
		t.Error("nobody was told that there was no turn")
	}
}

func TestBadUsersFile(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"no colon", "ann", "line 1: there is no ':' between name and hash"},
		{"no name", ":x", "line 1: the user name is empty"},
		{"plain text", "\nann:secret", `line 2: user "ann": the hash is neither bcrypt`},
		{"twice", "ann:" + bcrypted(t, "x") + "\nann:" + bcrypted(t, "x"), `line 2: user "ann" is there twice`},
		{"short bcrypt", "ann:$2b$10$abc", "a bcrypt hash has 60 characters"},
		{"argon2i", "ann:$argon2i$v=19$m=64,t=1,p=1$c29tZXNhbHQ$AAAA", "neither bcrypt"},
		{"argon2 version", "ann:$argon2id$v=16$m=64,t=1,p=1$c29tZXNhbHQ$AAAA", "an argon2id hash is"},
		{"argon2 parameters", "ann:$argon2id$v=19$m=x$c29tZXNhbHQ$AAAA", "read argon2id parameters"},
		{"argon2 too much", "ann:$argon2id$v=19$m=4000000,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAA", "more than 1 GiB"},
		{"argon2 none", "ann:$argon2id$v=19$m=64,t=0,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAA", "at least 1"},
		{"argon2 short", "ann:$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$AAAA", "too short"},
		{"argon2 base64", "ann:$argon2id$v=19$m=64,t=1,p=1$!!$AAAA", "read argon2id salt and hash"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := usersFile(t, c.text)
			_, err := auth.Open(auth.Config{UsersFile: file})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if l := (auth.Config{UsersFile: file}).Validate(); len(l) != 1 || l[0].Path != "users_file" {
				t.Errorf("problems: %v", l)
			}
		})
	}
	l := auth.Config{UsersFile: "/does/not/exist"}.Validate()
	if len(l) != 1 || l[0].Message != "the file /does/not/exist does not exist" || l[0].Hint == "" {
		t.Errorf("problems: %+v", l)
	}
	if l := (auth.Config{}).Validate(); len(l) != 0 {
		t.Errorf("problems: %+v", l)
	}
}

func TestEditUsers(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "users")
	link := filepath.Join(dir, "link")
	h1, h2 := bcrypted(t, "1"), bcrypted(t, "2")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	want := func(text string) {
		t.Helper()
		got, err := os.ReadFile(path)
		must(err)
		if diff := cmp.Diff(text, string(got)); diff != "" {
			t.Error(diff)
		}
	}
	must(auth.SetUser(path, "ann", h1))
	info, err := os.Stat(path)
	must(err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	must(os.WriteFile(path, []byte("# people\n\nann:"+h1+"\n"), 0o600))
	must(os.Symlink(path, link))
	must(auth.SetUser(link, "bob", h1))
	must(auth.SetUser(path, "ann", h2))
	want("# people\n\nann:" + h2 + "\nbob:" + h1 + "\n")
	found, err := auth.DeleteUser(path, "ann")
	must(err)
	if !found {
		t.Error("ann was not found")
	}
	want("# people\n\nbob:" + h1 + "\n")
	if found, err := auth.DeleteUser(path, "ann"); found || err != nil {
		t.Errorf("ann again: %v, %v", found, err)
	}
	if _, err := auth.DeleteUser(filepath.Join(dir, "none"), "ann"); err == nil {
		t.Error("deleted from a file that is not there")
	}
	for _, bad := range []string{"", "a:b", "a\nb", "#a", " a", "a\xff"} {
		if auth.SetUser(path, bad, h1) == nil {
			t.Errorf("user %q was taken", bad)
		}
	}
	if auth.SetUser(path, "ann", "plain") == nil {
		t.Error("a hash that is none was taken")
	}
	left, err := filepath.Glob(filepath.Join(dir, ".users-*"))
	must(err)
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestHash(t *testing.T) {
	if _, err := auth.Hash(nil); err == nil {
		t.Error("an empty password was hashed")
	}
	if first, second := argon(t, "x"), argon(t, "x"); first == second {
		t.Error("two hashes are alike: no salt")
	}
}

func TestAdmitAnonymous(t *testing.T) {
	yes, no := true, false
	for _, c := range []struct {
		cfg      auth.Config
		loopback bool
		want     bool
	}{
		{auth.Config{}, true, true},
		{auth.Config{}, false, false},
		{auth.Config{UsersFile: "f"}, true, false},
		{auth.Config{UsersFile: "f"}, false, false},
		{auth.Config{Anonymous: &yes}, false, true},
		{auth.Config{UsersFile: "f", Anonymous: &yes}, false, true},
		{auth.Config{Anonymous: &no}, true, false},
	} {
		if got := c.cfg.AdmitAnonymous(c.loopback); got != c.want {
			t.Errorf("%+v on loopback %v: %v", c.cfg, c.loopback, got)
		}
	}
}

func BenchmarkCheckRemembered(b *testing.B) {
	file := filepath.Join(b.TempDir(), "users")
	h, err := auth.Hash([]byte("secret"))
	if err != nil {
		b.Fatal(err)
	}
	if err := auth.SetUser(file, "ann", h); err != nil {
		b.Fatal(err)
	}
	a, err := auth.Open(auth.Config{UsersFile: file})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if ok, err := a.Check(b.Context(), "ann", []byte("secret")); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}
