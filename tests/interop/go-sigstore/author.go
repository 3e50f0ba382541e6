package main

// Whoever signs: keys, certificates, signatures and statements. All of it is Go's own library.

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// The issuer of an OIDC token, as Fulcio writes it into certificates.
var issuerExtension = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}

// Longer than any run of the script.
const certificateLife = 24 * time.Hour

// An authority is a root, or an intermediate with the certificates above it.
type authority struct {
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
	above       []byte
}

// makeKeys writes key.pem, key.pub, certificate.pem, chain.pem (intermediate and root) and full.pem
// (all three, as a Rekor submission may carry them).
func makeKeys(_ context.Context, flags *flag.FlagSet, arguments []string) error {
	out := flags.String("out", "", "the directory to write to")
	email := flags.String("email", "", "the subject of the certificate")
	issuer := flags.String("issuer", "", "the OIDC issuer in the certificate")
	isEd25519 := flags.Bool("ed25519", false, "an Ed25519 key, not ECDSA P-256")
	flags.Parse(arguments)
	root, err := newAuthority("interop root", nil)
	if err != nil {
		return err
	}
	intermediate, err := newAuthority("interop intermediate", root)
	if err != nil {
		return err
	}
	key, err := newKey(*isEd25519)
	if err != nil {
		return err
	}
	leaf, err := intermediate.issue(key, *email, *issuer)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	return writeAll(*out, map[string][]byte{
		"key.pem":         encode("PRIVATE KEY", private),
		"key.pub":         encode("PUBLIC KEY", public),
		"certificate.pem": leaf,
		"chain.pem":       intermediate.chain(),
		"full.pem":        append(leaf[:len(leaf):len(leaf)], intermediate.chain()...),
	})
}

func newKey(isEd25519 bool) (crypto.Signer, error) {
	if isEd25519 {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

func newAuthority(name string, parent *authority) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := newTemplate(name)
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign
	if parent != nil {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	}
	made := &authority{key: key}
	signer, issuer := key, template
	if parent != nil {
		signer, issuer, made.above = parent.key, parent.certificate, parent.chain()
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	made.certificate, err = x509.ParseCertificate(der)
	return made, err
}

func newTemplate(name string) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err)
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{Organization: []string{"interop"}, CommonName: name},
		NotBefore:    time.Now().Add(-time.Minute),
		NotAfter:     time.Now().Add(certificateLife),
	}
}

// chain is the authority's own certificate and those above it, in PEM.
func (a *authority) chain() []byte {
	return append(encode("CERTIFICATE", a.certificate.Raw), a.above...)
}

// issue makes a certificate in the shape of Fulcio's: no subject name, one SAN, the OIDC issuer.
func (a *authority) issue(key crypto.Signer, email, issuer string) ([]byte, error) {
	value, err := asn1.MarshalWithParams(issuer, "utf8")
	if err != nil {
		return nil, err
	}
	template := newTemplate("")
	template.Subject = pkix.Name{}
	template.EmailAddresses = []string{email}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	template.ExtraExtensions = []pkix.Extension{{Id: issuerExtension, Value: value}}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	return encode("CERTIFICATE", der), err
}

// signFile signs with ECDSA over SHA-256.
func signFile(_ context.Context, flags *flag.FlagSet, arguments []string) error {
	keyFile := flags.String("key", "", "the private key, PKCS#8 in PEM")
	file := flags.String("file", "", "what to sign")
	out := flags.String("out", "", "the file of the signature, DER")
	flags.Parse(arguments)
	message, err := os.ReadFile(*file)
	if err != nil {
		return err
	}
	signature, err := sign(*keyFile, message)
	if err != nil {
		return err
	}
	return os.WriteFile(*out, signature, 0o600)
}

func sign(keyFile string, message []byte) ([]byte, error) {
	text, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("no PEM in " + keyFile)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, errors.New("this key does not sign")
	}
	digest := sha256.Sum256(message)
	return key.Sign(rand.Reader, digest[:], crypto.SHA256)
}

// signStatement writes a DSSE envelope with an in-toto statement about one file.
func signStatement(_ context.Context, flags *flag.FlagSet, arguments []string) error {
	keyFile := flags.String("key", "", "the private key, PKCS#8 in PEM")
	file := flags.String("file", "", "what the statement is about")
	out := flags.String("out", "", "the file of the envelope")
	flags.Parse(arguments)
	content, err := os.ReadFile(*file)
	if err != nil {
		return err
	}
	digest := sha256.Sum256(content)
	statement, err := json.Marshal(map[string]any{
		"_type":         "https://in-toto.io/Statement/v1",
		"predicateType": "https://interop.test/v1",
		"subject": []any{map[string]any{
			"name":   filepath.Base(*file),
			"digest": map[string]string{"sha256": hex.EncodeToString(digest[:])},
		}},
		"predicate": map[string]string{"made": time.Now().Format(time.RFC3339Nano)},
	})
	if err != nil {
		return err
	}
	const kind = "application/vnd.in-toto+json"
	signed := fmt.Sprintf("DSSEv1 %d %s %d %s", len(kind), kind, len(statement), statement)
	signature, err := sign(*keyFile, []byte(signed))
	if err != nil {
		return err
	}
	envelope, err := json.Marshal(map[string]any{
		"payloadType": kind,
		"payload":     base64.StdEncoding.EncodeToString(statement),
		"signatures": []any{
			map[string]string{"sig": base64.StdEncoding.EncodeToString(signature)},
		},
	})
	if err != nil {
		return err
	}
	return os.WriteFile(*out, envelope, 0o600)
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func writeAll(directory string, files map[string][]byte) error {
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(directory, name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}
