package main

// What witnesses need before they start: keys, an SSH agent that holds one, and a log to know.

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"filippo.io/torchwood"
	cosignature "github.com/transparency-dev/formats/note"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/mod/sumdb/note"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// keygen writes OUT.key, a private key as Go's note tools write it, and OUT.vkey.
func keygen(_ context.Context, flags *flag.FlagSet, arguments []string) error {
	name := flags.String("name", "", "the key's name")
	kind := flags.String("kind", "log", "log, witness or ml-dsa")
	out := flags.String("out", "", "where to write, without .key and .vkey")
	flags.Parse(arguments)
	private, public, err := newKey(*kind, *name)
	if err != nil {
		return err
	}
	if err := os.WriteFile(*out+".key", []byte(private), 0o600); err != nil {
		return err
	}
	return os.WriteFile(*out+".vkey", []byte(public+"\n"), 0o644)
}

func newKey(kind, name string) (private, public string, err error) {
	switch kind {
	case "log":
		return note.GenerateKey(rand.Reader, name)
	case "witness":
		private, public, err = note.GenerateKey(rand.Reader, name)
		if err != nil {
			return "", "", err
		}
		public, err = cosignature.VKeyToCosignatureV1(public)
		return private, public, err
	case "ml-dsa":
		return cosignature.GenerateMLDSAKey(name)
	default:
		return "", "", fmt.Errorf("there is no kind of key %q", kind)
	}
}

// serveAgent makes a key, prints its fingerprint and its vkey as a witness, and serves it.
func serveAgent(ctx context.Context, flags *flag.FlagSet, arguments []string) error {
	name := flags.String("name", "", "the witness's name")
	socket := flags.String("socket", "", "where to listen: a path that is not there yet")
	flags.Parse(arguments)
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	keyring := agent.NewKeyring()
	if err := keyring.Add(agent.AddedKey{PrivateKey: private, Comment: *name}); err != nil {
		return err
	}
	verifier, err := torchwood.NewCosignatureVerifierFromKey(*name, public)
	if err != nil {
		return err
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		return err
	}
	listener, err := net.Listen("unix", *socket)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { listener.Close() })
	fmt.Println(ssh.FingerprintSHA256(key), verifier)
	for {
		connection, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go agent.ServeAgent(keyring, connection)
	}
}

// register adds a log to the database of a running litewitness. Its own tool for this, witnessctl,
// needs a module that not every proxy has.
func register(_ context.Context, flags *flag.FlagSet, arguments []string) error {
	database := flags.String("db", "", "the witness's database")
	vkey := flags.String("vkey", "", "file with the log's vkey; its name is the origin")
	flags.Parse(arguments)
	verifier, text, err := logKey(*vkey)
	if err != nil {
		return err
	}
	connection, err := sqlite.OpenConn(*database, sqlite.OpenReadWrite)
	if err != nil {
		return err
	}
	defer connection.Close()
	connection.SetBusyTimeout(5 * time.Second)
	empty := sha256.Sum256(nil)
	root := base64.StdEncoding.EncodeToString(empty[:])
	err = sqlitex.Execute(connection,
		"INSERT INTO log (origin, tree_size, tree_hash) VALUES (?, 0, ?)",
		&sqlitex.ExecOptions{Args: []any{verifier.Name(), root}})
	if err != nil {
		return err
	}
	return sqlitex.Execute(connection, "INSERT INTO key (origin, key) VALUES (?, ?)",
		&sqlitex.ExecOptions{Args: []any{verifier.Name(), text}})
}

// logKey reads a log's vkey from a file.
func logKey(path string) (note.Verifier, string, error) {
	bytes, err := os.ReadFile(path)
	if err != nil {
		return nil, "", err
	}
	text := strings.TrimSpace(string(bytes))
	verifier, err := torchwood.NewLogVerifier(text)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", path, err)
	}
	return verifier, text, nil
}
