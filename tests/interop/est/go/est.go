// Command est is an EST client in Go, by github.com/globalsign/est.
//
//	est HOST:PORT ROOT.pem NAME TOKEN
//
// It fetches the CA's certificates, asks for CSR attributes, enrols with the token as its password, and renews with a
// new key over mTLS, repeating subject and SAN (RFC 7030 4.2.2). Each step prints its name and the certificates that it
// got, in PEM. Then it shows the token again, for another key. A refusal is one line: "refused STATUS: words".
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/globalsign/est"
)

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: est HOST:PORT ROOT.pem NAME TOKEN")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(host, rootFile, name, token string) error {
	root, err := os.ReadFile(rootFile)
	if err != nil {
		return err
	}
	anchors := x509.NewCertPool()
	anchors.AppendCertsFromPEM(root)
	stranger := &est.Client{Host: host, ExplicitAnchor: anchors, Username: name, Password: token}

	told, err := stranger.CACerts(context.Background())
	if err != nil {
		return err
	}
	show("cacerts", told...)
	attributes, err := stranger.CSRAttrs(context.Background())
	if err != nil {
		return err
	}
	fmt.Println("csrattrs", len(attributes.OIDs)+len(attributes.Attributes) > 0)

	key, request, err := ask(pkix.Name{}, nil)
	if err != nil {
		return err
	}
	enrolled, err := stranger.Enroll(context.Background(), request)
	if err != nil {
		return refused(err)
	}
	show("simpleenroll", enrolled)

	chain := []*x509.Certificate{enrolled}
	agent := &est.Client{Host: host, ExplicitAnchor: anchors, Certificates: chain, PrivateKey: key}
	if _, request, err = ask(enrolled.Subject, enrolled.URIs); err != nil {
		return err
	}
	renewed, err := agent.Reenroll(context.Background(), request)
	if err != nil {
		return refused(err)
	}
	show("simplereenroll", renewed)

	if _, request, err = ask(pkix.Name{}, nil); err != nil {
		return err
	}
	_, err = stranger.Enroll(context.Background(), request)
	return refused(err)
}

// refused prints what the authority said; what is not its refusal is an error.
func refused(err error) error {
	var refusal est.Error
	if !errors.As(err, &refusal) {
		return err
	}
	fmt.Printf("refused %d: %s\n", refusal.StatusCode(), strings.TrimSpace(refusal.Error()))
	return nil
}

func ask(subject pkix.Name, uris []*url.URL) (*ecdsa.PrivateKey, *x509.CertificateRequest, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: subject, URIs: uris}, key)
	if err != nil {
		return nil, nil, err
	}
	request, err := x509.ParseCertificateRequest(der)
	return key, request, err
}

func show(step string, certificates ...*x509.Certificate) {
	fmt.Println(step)
	for _, each := range certificates {
		fmt.Print(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: each.Raw})))
	}
}
