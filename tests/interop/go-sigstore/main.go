// Command sigstore holds the tools of scripts/interop that other Sigstore clients need around them:
// keys, certificates and signatures, a TUF repository, and readers and writers of Rekor v2 made of
// Sigstore's own modules.
//
// Invariants: what verifies is sigstore-go, rekor-tiles, Tessera and transparency.dev, never code
// from here; servers listen on loopback. Out of scope: anything that Treering does itself.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sort"
	"strings"
	"syscall"
)

// A command reads its flags and does its work until the context ends.
type command struct {
	about string
	run   func(context.Context, *flag.FlagSet, []string) error
}

var commands = map[string]command{
	"keys":     {"make an authority, a signing key and its certificate", makeKeys},
	"sign":     {"sign a file", signFile},
	"envelope": {"sign a statement about a file, as a DSSE envelope", signStatement},
	"same":     {"have sigstore-go read two trust files and compare what it finds", sameTrust},
	"tuf":      {"make a TUF repository of two trust files and serve it", serveTUF},
	"write":    {"log signatures with the writer of rekor-tiles, one of them twice", writeEntries},
	"follow":   {"read what a log has grown by with the reader of rekor-tiles", follow},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, arguments []string) error {
	if len(arguments) == 0 {
		return errors.New(usage())
	}
	command, found := commands[arguments[0]]
	if !found {
		return errors.New(usage())
	}
	flags := flag.NewFlagSet(arguments[0], flag.ExitOnError)
	return command.run(ctx, flags, arguments[1:])
}

func usage() string {
	lines := []string{"say one of these commands; each has -help"}
	for name, command := range commands {
		lines = append(lines, fmt.Sprintf("  %-10s %s", name, command.about))
	}
	sort.Strings(lines[1:])
	return strings.Join(lines, "\n")
}
