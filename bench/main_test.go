package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRunRefuses(t *testing.T) {
	for _, args := range [][]string{
		{"-rounds", "0"}, {"-size", "1"}, {"-cases", "("}, {"-cases", "no such case"}, {"stray"}, {"-targets", "lio", "-dir", t.TempDir()},
		{"load", "-mode", "trim"}, {"load", "-target", "iqn.x", "-address", "127.0.0.1:1"}, {"bare"}, {"bare", "127.0.0.1:0", "/no/such/image"},
		{"benchstat", "-base", "--output=x"}, {"isolate", "/no/such/program"},
	} {
		if err := run(context.Background(), args); err == nil {
			t.Errorf("bench %q did not fail", args)
		}
	}
}

// The bare server under the load generator, as they are run in processes of their own.
func TestLoadOfBare(t *testing.T) {
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	failed := make(chan error, 1)
	go func() { failed <- run(context.Background(), []string{"bare", address, image}) }() // until the test ends
	for {
		err := run(context.Background(), []string{"load", "-address", address, "-target", "iqn.x", "-time", "20ms", "-warm-up", "0s", "-verify", "-mode", "randrw"})
		if err == nil {
			return
		}
		if !strings.Contains(err.Error(), "refused") {
			t.Fatal(err)
		}
		select {
		case err := <-failed:
			t.Fatal(err)
		default:
		}
	}
}

// A commit is laid out beside the tree.
func TestCheckOut(t *testing.T) {
	directory := filepath.Join(t.TempDir(), "tree")
	if err := checkOut(context.Background(), "HEAD", directory); err != nil {
		t.Skipf("this is no git repository with git installed: %v", err)
	}
	if entries, err := os.ReadDir(directory); err != nil || len(entries) == 0 {
		t.Errorf("HEAD has no files: %v", err)
	}
}
