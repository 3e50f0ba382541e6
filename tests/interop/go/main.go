// Command interop holds the tools of scripts/interop that are easier in Go: a log and verifiers made
// of other people's modules, and what their witnesses need around them.
//
// Invariants: every server listens on loopback or on a socket file; nothing here is ever asked for a
// verdict about itself: logs are Tessera's, verifiers are Torchwood's, transparency.dev's and Go's
// own. Out of scope: anything that Treering does itself.
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
	"keygen":     {"make a key: log (0x01), witness (0x04) or ml-dsa (0x06)", keygen},
	"agent":      {"be the SSH agent of a witness, with one new key", serveAgent},
	"register":   {"tell litewitness about a log", register},
	"tesseralog": {"append entries to a Tessera log and print its witnessed checkpoint", tesseraLog},
	"servelog":   {"serve the files of a Tessera log", serveLog},
	"checknote":  {"verify a checkpoint and its cosignatures", checkNote},
	"checklog":   {"read a whole log and rebuild every tile", checkLog},
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
