package main

// Verifiers that are not ours, for checkpoints and for whole logs.

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"filippo.io/torchwood"
	cosignature "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
)

// The most that the clock of a witness on this machine may differ.
const clockSkewMax = 5 * time.Minute

// checkNote has two implementations verify a checkpoint: Torchwood, which also decides whether the
// policy is met, and transparency.dev's. They must agree on who signed.
func checkNote(_ context.Context, flags *flag.FlagSet, arguments []string) error {
	policyFile := flags.String("policy", "", "the policy, in C2SP tlog-policy")
	source := flags.String("note", "-", "the checkpoint: a file, a URL, or - for standard input")
	size := flags.Int64("size", -1, "the size that it must have")
	flags.Parse(arguments)
	text, err := os.ReadFile(*policyFile)
	if err != nil {
		return err
	}
	policy, err := torchwood.ParsePolicy(text)
	if err != nil {
		return err
	}
	signed, err := read(*source)
	if err != nil {
		return err
	}
	checkpoint, opened, err := torchwood.VerifyCheckpoint(signed, policy)
	if err != nil {
		return fmt.Errorf("Torchwood: %w", err)
	}
	if *size >= 0 && checkpoint.N != *size {
		return fmt.Errorf("its size is %d and should be %d", checkpoint.N, *size)
	}
	if err := agree(signed, text, opened); err != nil {
		return fmt.Errorf("transparency.dev: %w", err)
	}
	fmt.Printf("%s size %d root %s\n", checkpoint.Origin, checkpoint.N, checkpoint.Hash)
	return describe(opened.Sigs)
}

// agree opens the note again, with verifiers from another module, and compares.
func agree(signed, policy []byte, opened *note.Note) error {
	var verifiers []note.Verifier
	for line := range strings.Lines(string(policy)) {
		fields := strings.Fields(line)
		var verifier note.Verifier
		var err error
		switch {
		case len(fields) >= 2 && fields[0] == "log":
			verifier, err = cosignature.NewVerifier(fields[1])
		case len(fields) >= 3 && fields[0] == "witness":
			verifier, err = cosignature.NewVerifierForCosignatureV1(fields[2])
		default:
			continue
		}
		if err != nil {
			return err
		}
		verifiers = append(verifiers, verifier)
	}
	again, err := note.Open(signed, note.VerifierList(verifiers...))
	if err != nil {
		return err
	}
	if again.Text != opened.Text || len(again.Sigs) != len(opened.Sigs) {
		return fmt.Errorf("%d signatures verify, not %d", len(again.Sigs), len(opened.Sigs))
	}
	return nil
}

// describe prints one line for each signature that verified, and refuses times that cannot be.
func describe(signatures []note.Signature) error {
	for _, signature := range signatures {
		kind, isDated := kindOf(signature)
		if !isDated {
			fmt.Printf("  %s %08x %s\n", kind, signature.Hash, signature.Name)
			continue
		}
		seconds, err := torchwood.CosignatureTimestamp(signature)
		if err != nil {
			return err
		}
		if time.Since(time.Unix(seconds, 0)).Abs() > clockSkewMax {
			return fmt.Errorf("%s signed at %d, which is not now", signature.Name, seconds)
		}
		fmt.Printf("  %s %08x %s at %d\n", kind, signature.Hash, signature.Name, seconds)
	}
	return nil
}

// kindOf tells kinds apart by length: 4 bytes of key id, 8 of time where there is one, and the
// signature.
func kindOf(signature note.Signature) (kind string, isDated bool) {
	switch len(signature.Base64) {
	case 92: // 4 + 64 bytes
		return "ed25519 0x01", false
	case 104: // 4 + 8 + 64 bytes
		return "ed25519 0x04", true
	case 3244: // 4 + 8 + 2,420 bytes
		return "ml-dsa-44 0x06", true
	default:
		return "unknown", false
	}
}

// checkLog reads every entry of a log, computes the tree and compares every tile and the root.
func checkLog(ctx context.Context, flags *flag.FlagSet, arguments []string) error {
	prefix := flags.String("url", "", "where the log is")
	vkey := flags.String("vkey", "", "file with the log's vkey; its name is the origin")
	flags.Parse(arguments)
	verifier, _, err := logKey(*vkey)
	if err != nil {
		return err
	}
	root, err := url.Parse(*prefix)
	if err != nil {
		return err
	}
	fetcher, err := client.NewHTTPFetcher(root, nil)
	if err != nil {
		return err
	}
	return fsck.New(verifier.Name(), verifier, fetcher, leafHashes, fsck.Opts{N: 2}).Check(ctx)
}

func leafHashes(bundle []byte) ([][]byte, error) {
	var parsed api.EntryBundle
	if err := parsed.UnmarshalText(bundle); err != nil {
		return nil, err
	}
	var hashes [][]byte
	for _, entry := range parsed.Entries {
		hashes = append(hashes, rfc6962.DefaultHasher.HashLeaf(entry))
	}
	return hashes, nil
}

func read(source string) ([]byte, error) {
	if source == "-" {
		return io.ReadAll(os.Stdin)
	}
	if !strings.HasPrefix(source, "http://") {
		return os.ReadFile(source)
	}
	response, err := http.Get(source)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, errors.New(response.Status)
	}
	var body bytes.Buffer
	_, err = io.Copy(&body, io.LimitReader(response.Body, 1<<20))
	return body.Bytes(), err
}
