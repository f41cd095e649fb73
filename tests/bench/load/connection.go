package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

const patience = 30 * time.Second

// server is what a client knows of it: its address, the path that issues, and the one root it trusts.
type server struct {
	address string
	path    string
	tls     *tls.Config
}

func newServer(location, rootFile string) (*server, error) {
	parsed, err := url.Parse(location)
	if err != nil {
		return nil, err
	}
	root, err := os.ReadFile(rootFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(root) {
		return nil, fmt.Errorf("%s holds no certificate", rootFile)
	}
	// Without a session cache each handshake is a full one.
	config := &tls.Config{RootCAs: roots, ServerName: parsed.Hostname(), NextProtos: []string{"http/1.1"}}
	return &server{address: parsed.Host, path: parsed.Path, tls: config}, nil
}

// connection is one TLS connection to the server, for one request at a time.
type connection struct {
	raw    *tls.Conn
	reader *bufio.Reader
}

func (server *server) connect() (*connection, error) {
	raw, err := net.DialTimeout("tcp", server.address, patience)
	if err != nil {
		return nil, err
	}
	secured := tls.Client(raw, server.tls)
	if err := secured.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if err := secured.Handshake(); err != nil {
		raw.Close()
		return nil, err
	}
	return &connection{raw: secured, reader: bufio.NewReaderSize(secured, 8192)}, nil
}

// exchange sends a request and reads the whole answer. It says whether the connection can be used again.
func (connection *connection) exchange(post []byte) (reusable bool, err error) {
	if err := connection.raw.SetDeadline(time.Now().Add(patience)); err != nil {
		return false, err
	}
	if _, err := connection.raw.Write(post); err != nil {
		return false, err
	}
	answer, err := http.ReadResponse(connection.reader, nil)
	if err != nil {
		return false, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusCreated {
		said, _ := io.ReadAll(io.LimitReader(answer.Body, 1000))
		return false, fmt.Errorf("%s: %s", answer.Status, strings.TrimSpace(string(said)))
	}
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return false, err
	}
	return !answer.Close, nil
}

func (connection *connection) close() {
	if connection != nil {
		connection.raw.Close()
	}
}
