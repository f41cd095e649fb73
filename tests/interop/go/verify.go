// Command verify is a relying party in Go: it validates a presented chain to a root for TLS client
// authentication, then asks every source of status that the leaf names, and believes none of them
// before its signature and its time were checked.
//
//	verify ROOT.pem PRESENTED.pem
//
// It prints one line for each question ("chain accepted", "crl good", "ocsp-sha1 revoked", ...).
// Exit status 0 when all is well, 1 when the certificate is refused, 2 when something cannot be told.
package main

import (
	"bytes"
	"crypto"
	_ "crypto/sha1"   // CertIDs
	_ "crypto/sha256" // CertIDs and signatures
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"golang.org/x/crypto/ocsp"
)

const (
	good    = "good"
	revoked = "revoked"
)

var noRevAvail = asn1.ObjectIdentifier{2, 5, 29, 56}

var client = http.Client{Timeout: 10 * time.Second}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: verify ROOT.pem PRESENTED.pem")
		os.Exit(2)
	}
	refused, err := verify(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if refused {
		os.Exit(1)
	}
}

func verify(rootFile, presentedFile string) (refused bool, err error) {
	roots, err := read(rootFile)
	if err != nil {
		return false, err
	}
	presented, err := read(presentedFile)
	if err != nil {
		return false, err
	}
	issuer, err := chain(roots, presented)
	if err != nil {
		fmt.Println("chain refused:", err)
		return true, nil
	}
	fmt.Println("chain accepted")
	leaf := presented[0]
	if withoutRevocation(leaf) {
		fmt.Println("revocation unavailable")
		return false, nil
	}
	byCRL, err := crlStatus(leaf, issuer)
	if err != nil {
		return false, fmt.Errorf("crl: %w", err)
	}
	fmt.Println("crl", byCRL)
	refused = byCRL != good
	for _, digest := range []struct {
		name string
		hash crypto.Hash
	}{{"sha1", crypto.SHA1}, {"sha256", crypto.SHA256}} {
		status, err := ocspStatus(leaf, issuer, digest.hash)
		if err != nil {
			return false, fmt.Errorf("ocsp-%s: %w", digest.name, err)
		}
		fmt.Printf("ocsp-%s %s\n", digest.name, status)
		refused = refused || status != good
	}
	return refused, nil
}

func read(file string) ([]*x509.Certificate, error) {
	rest, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var certificates []*x509.Certificate
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		certificates = append(certificates, certificate)
	}
	if len(certificates) == 0 {
		return nil, fmt.Errorf("%s: no certificate", file)
	}
	return certificates, nil
}

// chain validates the leaf for TLS client authentication and returns its issuer.
func chain(roots, presented []*x509.Certificate) (*x509.Certificate, error) {
	options := x509.VerifyOptions{
		Roots:         x509.NewCertPool(),
		Intermediates: x509.NewCertPool(),
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, root := range roots {
		options.Roots.AddCert(root)
	}
	for _, intermediate := range presented[1:] {
		options.Intermediates.AddCert(intermediate)
	}
	chains, err := presented[0].Verify(options)
	if err != nil {
		return nil, err
	}
	if len(chains[0]) < 2 {
		return nil, errors.New("the leaf itself is among the roots")
	}
	return chains[0][1], nil
}

// withoutRevocation tells whether the leaf says noRevAvail (RFC 9608): its status is then not asked for.
func withoutRevocation(leaf *x509.Certificate) bool {
	for _, extension := range leaf.Extensions {
		if extension.Id.Equal(noRevAvail) {
			return len(leaf.CRLDistributionPoints) == 0 && len(leaf.OCSPServer) == 0
		}
	}
	return false
}

func crlStatus(leaf, issuer *x509.Certificate) (string, error) {
	if len(leaf.CRLDistributionPoints) != 1 {
		return "", fmt.Errorf("the leaf names %d CRLs", len(leaf.CRLDistributionPoints))
	}
	der, err := body(client.Get(leaf.CRLDistributionPoints[0]))
	if err != nil {
		return "", err
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return "", err
	}
	if err := list.CheckSignatureFrom(issuer); err != nil {
		return "", err
	}
	if err := current(list.ThisUpdate, list.NextUpdate); err != nil {
		return "", err
	}
	// RevokedCertificateEntries says more, but Go has it only since 1.21.
	for _, entry := range list.RevokedCertificates {
		if entry.SerialNumber.Cmp(leaf.SerialNumber) == 0 {
			return revoked, nil
		}
	}
	return good, nil
}

func ocspStatus(leaf, issuer *x509.Certificate, hash crypto.Hash) (string, error) {
	if len(leaf.OCSPServer) != 1 {
		return "", fmt.Errorf("the leaf names %d responders", len(leaf.OCSPServer))
	}
	question, err := ocsp.CreateRequest(leaf, issuer, &ocsp.RequestOptions{Hash: hash})
	if err != nil {
		return "", err
	}
	der, err := body(client.Post(leaf.OCSPServer[0], "application/ocsp-request", bytes.NewReader(question)))
	if err != nil {
		return "", err
	}
	// Checks the signature by the certificate in the answer, and that one's by the issuer ...
	answer, err := ocsp.ParseResponseForCert(der, leaf, issuer)
	if err != nil {
		return "", err
	}
	// ... but not what that certificate is for (RFC 6960 4.2.2.2).
	if err := mayAnswer(answer.Certificate); err != nil {
		return "", err
	}
	if answer.IssuerHash != hash {
		return "", fmt.Errorf("the CertID of the answer is of %v, not of %v", answer.IssuerHash, hash)
	}
	if err := current(answer.ThisUpdate, answer.NextUpdate); err != nil {
		return "", err
	}
	return map[int]string{ocsp.Good: good, ocsp.Revoked: revoked, ocsp.Unknown: "unknown"}[answer.Status], nil
}

func mayAnswer(responder *x509.Certificate) error {
	if responder == nil {
		return errors.New("the answer carries no responder certificate")
	}
	for _, purpose := range responder.ExtKeyUsage {
		if purpose == x509.ExtKeyUsageOCSPSigning {
			return nil
		}
	}
	return errors.New("the responder's certificate is not for OCSP signing")
}

func current(thisUpdate, nextUpdate time.Time) error {
	now := time.Now()
	if now.Before(thisUpdate) || !now.Before(nextUpdate) {
		return fmt.Errorf("valid from %v to %v, not now", thisUpdate, nextUpdate)
	}
	return nil
}

func body(answer *http.Response, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", answer.Request.URL, answer.Status)
	}
	return io.ReadAll(answer.Body)
}
