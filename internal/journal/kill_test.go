package journal_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/penstock/penstock/internal/journal"
)

// childEnv has the test binary write a journal instead of running tests.
const childEnv = "PENSTOCK_JOURNAL_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		writeUntilKilled(dir)
	}
	os.Exit(m.Run())
}

// writeUntilKilled appends from several goroutines and prints the id of each
// entry once it is stored.
func writeUntilKilled(dir string) {
	j, err := journal.Open(killOptions(dir))
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	w := newWatermark(j)
	var out sync.Mutex
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for n := 0; ; n++ {
				p := fmt.Sprintf("%d/%d/%d %0200d", j.Epoch(), g, n, n)
				first, err := j.Append([]journal.Entry{{Message: textMessage(p), Rules: []uint32{1}}})
				if err != nil {
					return
				}
				w.wait(first)
				out.Lock()
				_, _ = fmt.Fprintf(os.Stdout, "%d %d/%d/%d\n", first, j.Epoch(), g, n)
				out.Unlock()
			}
		})
	}
	all.Wait()
}

func killOptions(dir string) journal.Options {
	return journal.Options{Dir: filepath.Join(dir, "j"), MaxBytes: 64 << 20, SegmentBytes: 256 << 10}
}

// TestKill kills a process that writes, several times (I5): everything it said
// was stored is there, under its offset.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	want := map[uint64]string{}
	for round := range 4 {
		runAndKill(t, dir, 500+200*round, want)
	}
	j := openWith(t, killOptions(dir))
	got := read(t, j, 1)
	for o, head := range want {
		if s := got[o]; len(s) < len(head) || s[:len(head)] != head {
			t.Fatalf("offset %d is %q, want %q", o, s, head)
		}
	}
	if s := j.Stats(); s.Damaged != 0 || j.Epoch() != 5 {
		t.Fatalf("epoch %d, %+v", j.Epoch(), s)
	}
}

// runAndKill kills the child after so many acknowledged entries and adds those
// to want.
func runAndKill(t *testing.T, dir string, lines int, want map[uint64]string) {
	t.Helper()
	child, out := startChild(t, dir, os.Args[0])
	scan := bufio.NewScanner(out)
	for n := 0; scan.Scan(); n++ {
		var text, head string
		if _, err := fmt.Sscan(scan.Text(), &text, &head); err != nil {
			break // the last line may be cut
		}
		o, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("child said %q", scan.Text())
		}
		if old, ok := want[o]; ok {
			t.Fatalf("offset %d was %s and is %s", o, old, head)
		}
		want[o] = head
		if n == lines {
			_ = child.Process.Kill()
		}
	}
	if err := child.Wait(); err == nil {
		t.Fatal("the child ended by itself")
	}
}

// startChild runs this binary again; one built for another machine through the
// emulator it runs under itself.
func startChild(t *testing.T, dir string, command ...string) (*exec.Cmd, io.Reader) {
	t.Helper()
	child := exec.CommandContext(t.Context(), command[0], command[1:]...)
	child.Env = append(os.Environ(), childEnv+"="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	err = child.Start()
	emulator := map[string]string{"arm": "qemu-arm-static", "arm64": "qemu-aarch64-static"}[runtime.GOARCH]
	if errors.Is(err, syscall.ENOEXEC) && emulator != "" && command[0] != emulator {
		return startChild(t, dir, emulator, os.Args[0])
	}
	if err != nil {
		t.Fatal(err)
	}
	return child, out
}
