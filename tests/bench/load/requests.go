package main

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
)

// writeRequests makes a key and signs a request with an empty subject with it, `count` times, as agents do: on every core.
func writeRequests(to io.Writer, count int) error {
	made := make([]string, count)
	faults := make(chan error, runtime.NumCPU())
	for worker := 0; worker < cap(faults); worker++ {
		go func(worker int) {
			var err error
			for i := worker; i < count && err == nil; i += cap(faults) {
				made[i], err = newRequest()
			}
			faults <- err
		}(worker)
	}
	for worker := 0; worker < cap(faults); worker++ {
		if err := <-faults; err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(to, strings.Join(made, "\n"))
	return err
}

func newRequest() (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	return base64.StdEncoding.EncodeToString(der), err
}

// preparePosts pairs each token with its CSR: whole HTTP/1.1 requests, ready to be written to a connection.
func preparePosts(server *server, csrFile, tokenFile string, first int) ([][]byte, error) {
	encoded, err := lines(csrFile)
	if err != nil {
		return nil, err
	}
	tokens, err := lines(tokenFile)
	if err != nil {
		return nil, err
	}
	bodies := make([][]byte, len(encoded))
	posts := make([][]byte, 0, len(tokens))
	for i := first; i < len(tokens); i++ {
		which := i % len(encoded)
		if bodies[which] == nil {
			if bodies[which], err = body(encoded[which]); err != nil {
				return nil, err
			}
		}
		posts = append(posts, server.post(tokens[i], bodies[which]))
	}
	return posts, nil
}

func body(encoded string) ([]byte, error) {
	der, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	return json.Marshal(map[string]string{"csr": string(text)})
}

func (server *server) post(token string, body []byte) []byte {
	var request bytes.Buffer
	fmt.Fprintf(&request, "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n", server.path, server.address, token)
	fmt.Fprintf(&request, "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n", len(body))
	request.Write(body)
	return request.Bytes()
}

// isCreated wants a certificate.
func isCreated(answer *http.Response, body []byte) error {
	if answer.StatusCode == http.StatusCreated {
		return nil
	}
	return fmt.Errorf("%s: %.1000s", answer.Status, strings.TrimSpace(string(body)))
}

func lines(file string) ([]string, error) {
	stream, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	var found []string
	scanner := bufio.NewScanner(stream)
	for scanner.Scan() {
		found = append(found, scanner.Text())
	}
	return found, scanner.Err()
}
