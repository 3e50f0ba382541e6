package main

// Trust files, as sigstore-go reads them, and a TUF repository that hands them out.

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// sameTrust has two trusted roots or two signing configurations say the same, apart from the names
// of operators and the times from which keys and services count.
func sameTrust(_ context.Context, flags *flag.FlagSet, arguments []string) error {
	flags.Parse(arguments)
	if flags.NArg() != 2 {
		return errors.New("say two files of one kind: trusted roots, or signing configurations")
	}
	describe := describeRoot
	if strings.Contains(filepath.Base(flags.Arg(0)), "config") {
		describe = describeConfig
	}
	var found [2][]string
	for i, file := range flags.Args() {
		lines, err := describe(file)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		slices.Sort(lines)
		fmt.Printf("%s:\n  %s\n", file, strings.Join(lines, "\n  "))
		found[i] = lines
	}
	if len(found[0]) == 0 || !slices.Equal(found[0], found[1]) {
		return errors.New("they differ")
	}
	return nil
}

func describeRoot(file string) ([]string, error) {
	trusted, err := root.NewTrustedRootFromPath(file)
	if err != nil {
		return nil, err
	}
	var lines []string
	logs := func(word string, logs map[string]*root.TransparencyLog) error {
		for id, log := range logs {
			key, err := x509.MarshalPKIXPublicKey(log.PublicKey)
			if err != nil {
				return err
			}
			if id != hex.EncodeToString(log.ID) || !validNow(log.ValidityPeriodStart) {
				return fmt.Errorf("%s %s is not valid", word, log.BaseURL)
			}
			lines = append(lines, fmt.Sprintf("%s %s id %s key %x hash %v", word, log.BaseURL, id, key,
				log.SignatureHashFunc))
		}
		return nil
	}
	err = errors.Join(logs("rekor", trusted.RekorLogs()), logs("ct", trusted.CTLogs()))
	if err != nil {
		return nil, err
	}
	for _, authority := range trusted.FulcioCertificateAuthorities() {
		ca := authority.(*root.FulcioCertificateAuthority)
		lines = append(lines, fmt.Sprintf("fulcio %s root %x below %v", ca.URI,
			sha256.Sum256(ca.Root.Raw), digests(ca.Intermediates)))
	}
	for _, authority := range trusted.TimestampingAuthorities() {
		tsa := authority.(*root.SigstoreTimestampingAuthority)
		lines = append(lines, fmt.Sprintf("tsa %s root %x leaf %x below %v", tsa.URI,
			sha256.Sum256(tsa.Root.Raw), sha256.Sum256(tsa.Leaf.Raw), digests(tsa.Intermediates)))
	}
	return lines, nil
}

func validNow(start time.Time) bool {
	return !start.IsZero() && start.Before(time.Now())
}

func digests(certificates []*x509.Certificate) []string {
	var found []string
	for _, certificate := range certificates {
		found = append(found, fmt.Sprintf("%x", sha256.Sum256(certificate.Raw)))
	}
	return found
}

func describeConfig(file string) ([]string, error) {
	config, err := root.NewSigningConfigFromPath(file)
	if err != nil {
		return nil, err
	}
	var lines []string
	services := func(word string, services []root.Service) {
		for _, service := range services {
			lines = append(lines, fmt.Sprintf("%s %s v%d valid %v", word, service.URL,
				service.MajorAPIVersion, service.ValidAtTime(time.Now())))
		}
	}
	services("rekor", config.RekorLogURLs())
	services("tsa", config.TimestampAuthorityURLs())
	services("fulcio", config.FulcioCertificateAuthorityURLs())
	services("oidc", config.OIDCProviderURLs())
	return lines, nil
}

// Longer than any run of the script.
const metadataLife = 24 * time.Hour

// serveTUF makes a TUF repository with one key for all roles, serves it and prints where. Its root,
// which a client must have from elsewhere, is DIR/1.root.json.
func serveTUF(ctx context.Context, flags *flag.FlagSet, arguments []string) error {
	directory := flags.String("dir", "", "where the repository is made")
	trusted := flags.String("trusted-root", "", "the target trusted_root.json")
	config := flags.String("signing-config", "", "the target signing_config.v0.2.json")
	flags.Parse(arguments)
	err := makeTUF(*directory, map[string]string{
		"trusted_root.json":        *trusted,
		"signing_config.v0.2.json": *config,
	})
	if err != nil {
		return err
	}
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

func makeTUF(directory string, targets map[string]string) error {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	signer, err := signature.LoadSigner(private, crypto.Hash(0))
	if err != nil {
		return err
	}
	expires := time.Now().Add(metadataLife).UTC()
	rootRole, targetsRole := metadata.Root(expires), metadata.Targets(expires)
	snapshotRole, timestampRole := metadata.Snapshot(expires), metadata.Timestamp(expires)
	key, err := metadata.KeyFromPublicKey(public)
	if err != nil {
		return err
	}
	for _, role := range []string{"root", "targets", "snapshot", "timestamp"} {
		if err := rootRole.Signed.AddKey(key, role); err != nil {
			return err
		}
	}
	files := filepath.Join(directory, "targets")
	if err := os.MkdirAll(files, 0o700); err != nil {
		return err
	}
	for name, file := range targets {
		if targetsRole.Signed.Targets[name], err = addTarget(files, name, file); err != nil {
			return err
		}
	}
	return errors.Join(
		writeRole(rootRole, signer, filepath.Join(directory, "1.root.json")),
		writeRole(targetsRole, signer, filepath.Join(directory, "1.targets.json")),
		writeRole(snapshotRole, signer, filepath.Join(directory, "1.snapshot.json")),
		writeRole(timestampRole, signer, filepath.Join(directory, "timestamp.json")),
	)
}

// addTarget puts a file where clients look for it: its digest stands before its name.
func addTarget(directory, name, file string) (*metadata.TargetFiles, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	described, err := metadata.TargetFile().FromBytes(name, content, "sha256")
	if err != nil {
		return nil, err
	}
	stored := fmt.Sprintf("%x.%s", sha256.Sum256(content), name)
	return described, os.WriteFile(filepath.Join(directory, stored), content, 0o600)
}

func writeRole[T metadata.Roles](
	role *metadata.Metadata[T], signer signature.Signer, file string,
) error {
	if _, err := role.Sign(signer); err != nil {
		return err
	}
	return role.ToFile(file, true)
}
