package main

// Rekor v2 through the modules of rekor-tiles: what its command-line programs and monitors use.

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/rekor-tiles/v2/pkg/client/read"
	"github.com/sigstore/rekor-tiles/v2/pkg/client/write"
	"github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	rekornote "github.com/sigstore/rekor-tiles/v2/pkg/note"
	"github.com/sigstore/rekor-tiles/v2/pkg/verifier/certificate"
	"github.com/sigstore/rekor-tiles/v2/pkg/verify"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/client"
	"google.golang.org/protobuf/encoding/protojson"
)

// A v2Log is what a trusted root says about the log whose checkpoints are signed with Ed25519.
type v2Log struct {
	origin   string
	verifier signature.Verifier
}

func loadLog(trustedRoot string) (*v2Log, error) {
	trusted, err := root.NewTrustedRootFromPath(trustedRoot)
	if err != nil {
		return nil, err
	}
	for _, log := range trusted.RekorLogs() {
		if _, isV2 := log.PublicKey.(ed25519.PublicKey); !isV2 {
			continue
		}
		base, err := url.Parse(log.BaseURL)
		if err != nil {
			return nil, err
		}
		verifier, err := signature.LoadVerifier(log.PublicKey, log.SignatureHashFunc)
		return &v2Log{base.Hostname(), verifier}, err
	}
	return nil, errors.New("the trusted root names no log with an Ed25519 key")
}

// writeEntries logs signatures and has each proof verified; the last one is sent again, and then
// changed, and must be refused both times.
func writeEntries(ctx context.Context, flags *flag.FlagSet, arguments []string) error {
	where := flags.String("url", "", "where the log is")
	trusted := flags.String("trusted-root", "", "the trusted root that names its key")
	count := flags.Int("count", 1, "how many")
	flags.Parse(arguments)
	log, err := loadLog(*trusted)
	if err != nil {
		return err
	}
	verifier, err := rekornote.NewNoteVerifier(log.origin, log.verifier)
	if err != nil {
		return err
	}
	writer, err := write.NewWriter(*where)
	if err != nil {
		return err
	}
	var request *protobuf.HashedRekordRequestV002
	for range *count {
		if request, err = newRequest(); err != nil {
			return err
		}
		entry, err := writer.Add(ctx, request)
		if err != nil {
			return err
		}
		if err := verify.VerifyLogEntry(entry, verifier); err != nil {
			return err
		}
		fmt.Println(entry.LogIndex)
	}
	_, err = writer.Add(ctx, request)
	if err == nil || !strings.Contains(err.Error(), "unexpected response: 409") {
		return fmt.Errorf("the same entry again: %w", err)
	}
	request.Signature.Content[len(request.Signature.Content)-1] ^= 1
	_, err = writer.Add(ctx, request)
	if err == nil || !strings.Contains(err.Error(), "unexpected response: 400") {
		return fmt.Errorf("a signature that does not verify: %w", err)
	}
	return nil
}

func newRequest() (*protobuf.HashedRekordRequestV002, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256([]byte(rand.Text()))
	signed, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	return &protobuf.HashedRekordRequestV002{
		Digest: digest[:],
		Signature: &protobuf.Signature{
			Content: signed,
			Verifier: &protobuf.Verifier{
				Verifier: &protobuf.Verifier_PublicKey{
					PublicKey: &protobuf.PublicKey{RawBytes: public},
				},
				KeyDetails: protocommon.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256,
			},
		},
	}, nil
}

// The newest checkpoint that was verified, and the root in it.
type followed struct {
	Size uint64 `json:"size"`
	Root []byte `json:"root"`
	// How many new entries there were, and the indexes of those by the subject.
	Entries int      `json:"entries"`
	Matches []uint64 `json:"matches"`
}

// follow does what a monitor of Rekor v2 does: it verifies that the log only grew since the last
// run, reads every new entry as Rekor v2 writes it, and looks for a subject in its certificates.
func follow(ctx context.Context, flags *flag.FlagSet, arguments []string) error {
	where := flags.String("url", "", "where the log is")
	trusted := flags.String("trusted-root", "", "the trusted root that names its key")
	state := flags.String("state", "", "the file that remembers the last checkpoint")
	subject := flags.String("subject", "", "a regular expression for subjects of certificates")
	flags.Parse(arguments)
	log, err := loadLog(*trusted)
	if err != nil {
		return err
	}
	reader, err := read.NewReader(*where, log.origin, log.verifier)
	if err != nil {
		return err
	}
	checkpoint, _, err := reader.ReadCheckpoint(ctx)
	if err != nil {
		return err
	}
	var before followed
	if text, err := os.ReadFile(*state); err == nil {
		if err := json.Unmarshal(text, &before); err != nil {
			return err
		}
	}
	now := followed{Size: checkpoint.Size, Root: checkpoint.Hash, Matches: []uint64{}}
	if err := onlyGrew(ctx, reader, before, now); err != nil {
		return err
	}
	wanted, err := regexp.Compile(*subject)
	if err != nil {
		return err
	}
	for index := before.Size; index < now.Size; index++ {
		subjects, err := subjectsOf(ctx, reader, index, now.Size)
		if err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
		now.Entries++
		if slices.ContainsFunc(subjects, wanted.MatchString) {
			now.Matches = append(now.Matches, index)
		}
	}
	text, err := json.Marshal(now)
	if err != nil {
		return err
	}
	fmt.Println(string(text))
	return os.WriteFile(*state, text, 0o600)
}

func onlyGrew(ctx context.Context, reader read.Client, before, now followed) error {
	if before.Size == 0 {
		return nil
	}
	builder, err := client.NewProofBuilder(ctx, now.Size, reader.ReadTile)
	if err != nil {
		return err
	}
	hashes, err := builder.ConsistencyProof(ctx, before.Size, now.Size)
	if err != nil {
		return err
	}
	return proof.VerifyConsistency(rfc6962.DefaultHasher, before.Size, now.Size, hashes, before.Root,
		now.Root)
}

func subjectsOf(ctx context.Context, reader read.Client, index, size uint64) ([]string, error) {
	bundle, err := client.GetEntryBundle(ctx, reader.ReadEntryBundle, index/256, size)
	if err != nil {
		return nil, err
	}
	var entry protobuf.Entry
	if err := protojson.Unmarshal(bundle.Entries[index%256], &entry); err != nil {
		return nil, err
	}
	signatures := entry.GetSpec().GetDsseV002().GetSignatures()
	if one := entry.GetSpec().GetHashedRekordV002().GetSignature(); one != nil {
		signatures = append(signatures, one)
	}
	if len(signatures) == 0 {
		return nil, fmt.Errorf("kind %s has no signature", entry.GetKind())
	}
	var subjects []string
	for _, signed := range signatures {
		raw := signed.GetVerifier().GetX509Certificate().GetRawBytes()
		if len(raw) == 0 {
			continue
		}
		verifier, err := certificate.NewVerifier(bytes.NewReader(raw))
		if err != nil {
			return nil, err
		}
		identity, err := verifier.Identity()
		if err != nil {
			return nil, err
		}
		leaf, ok := identity.Crypto.(*x509.Certificate)
		if !ok {
			return nil, errors.New("this certificate has no identity")
		}
		subjects = append(subjects, cryptoutils.GetSubjectAlternateNames(leaf)...)
	}
	return subjects, nil
}
