package main

// A log that is not ours: Tessera's POSIX storage, with witnesses from a policy file.

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

// tesseraLog appends entries and prints the first checkpoint that covers them. Tessera publishes
// none that lacks the quorum of the policy.
func tesseraLog(ctx context.Context, flags *flag.FlagSet, arguments []string) error {
	directory := flags.String("dir", "", "the log's directory; made if it is not there")
	key := flags.String("key", "", "file with the log's private key")
	policy := flags.String("policy", "", "file with the witness policy, in C2SP tlog-policy")
	entries := flags.Int("entries", 1, "how many entries to append")
	word := flags.String("word", "entry", "what the entries begin with")
	timeout := flags.Duration("timeout", 20*time.Second, "the longest wait for the checkpoint")
	flags.Parse(arguments)
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	options, err := tesseraOptions(*key, *policy)
	if err != nil {
		return err
	}
	driver, err := posix.New(ctx, posix.Config{Path: *directory})
	if err != nil {
		return err
	}
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, options)
	if err != nil {
		return err
	}
	awaiter := tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, 20*time.Millisecond)
	futures := make([]tessera.IndexFuture, *entries)
	for i := range futures {
		entry := tessera.NewEntry(fmt.Appendf(nil, "%s %d", *word, i))
		futures[i] = appender.Add(ctx, entry)
	}
	var checkpoint []byte
	for _, future := range futures {
		if _, checkpoint, err = awaiter.Await(ctx, future); err != nil {
			return fmt.Errorf("no witnessed checkpoint: %w", err)
		}
	}
	if err := shutdown(ctx); err != nil {
		return err
	}
	_, err = os.Stdout.Write(checkpoint)
	return err
}

func tesseraOptions(keyFile, policyFile string) (*tessera.AppendOptions, error) {
	private, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, err
	}
	signer, err := note.NewSigner(strings.TrimSpace(string(private)))
	if err != nil {
		return nil, err
	}
	policy, err := os.ReadFile(policyFile)
	if err != nil {
		return nil, err
	}
	group, err := tessera.NewWitnessGroupFromPolicy(policy)
	if err != nil {
		return nil, err
	}
	return tessera.NewAppendOptions().
		WithCheckpointSigner(signer).
		WithCheckpointInterval(100*time.Millisecond).
		WithBatching(256, 20*time.Millisecond).
		WithWitnesses(group, &tessera.WitnessOptions{Timeout: 5 * time.Second}), nil
}

// serveLog prints its URL and serves a log's directory, which is laid out as the requests are.
func serveLog(ctx context.Context, flags *flag.FlagSet, arguments []string) error {
	directory := flags.String("dir", "", "the log's directory")
	flags.Parse(arguments)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.FileServer(http.Dir(*directory))}
	context.AfterFunc(ctx, func() { server.Close() })
	fmt.Printf("http://%s\n", listener.Addr())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
