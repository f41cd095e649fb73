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
	"time"
)

const patience = 30 * time.Second

// verdict says whether an answer is what was asked for: nil, errTryLater, or what is wrong with it.
type verdict func(answer *http.Response, body []byte) error

// server is what a client knows of it: its address, the path, the one root it trusts (none over plain HTTP).
type server struct {
	address string
	path    string
	tls     *tls.Config
	judge   verdict
}

func newServer(location, rootFile string, judge verdict) (*server, error) {
	parsed, err := url.Parse(location)
	if err != nil {
		return nil, err
	}
	made := &server{address: parsed.Host, path: parsed.Path, judge: judge}
	if parsed.Scheme == "http" {
		return made, nil
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
	made.tls = &tls.Config{RootCAs: roots, ServerName: parsed.Hostname(), NextProtos: []string{"http/1.1"}}
	return made, nil
}

// connection is one connection to the server, for one request at a time.
type connection struct {
	raw    net.Conn
	reader *bufio.Reader
	body   []byte
}

func (server *server) connect() (*connection, error) {
	raw, err := net.DialTimeout("tcp", server.address, patience)
	if err != nil {
		return nil, err
	}
	if server.tls != nil {
		secured := tls.Client(raw, server.tls)
		if err := secured.SetDeadline(time.Now().Add(patience)); err != nil {
			return nil, err
		}
		if err := secured.Handshake(); err != nil {
			raw.Close()
			return nil, err
		}
		raw = secured
	}
	return &connection{raw: raw, reader: bufio.NewReaderSize(raw, 8192)}, nil
}

// exchange sends a request and reads the whole answer. It says whether the connection can be used again.
func (connection *connection) exchange(request []byte, judge verdict) (reusable bool, err error) {
	if err := connection.raw.SetDeadline(time.Now().Add(patience)); err != nil {
		return false, err
	}
	if _, err := connection.raw.Write(request); err != nil {
		return false, err
	}
	answer, err := http.ReadResponse(connection.reader, nil)
	if err != nil {
		return false, err
	}
	defer answer.Body.Close()
	if err := connection.read(answer); err != nil {
		return false, err
	}
	return !answer.Close, judge(answer, connection.body)
}

// read takes the body into a buffer that all answers of this connection share.
func (connection *connection) read(answer *http.Response) error {
	if answer.ContentLength < 0 {
		body, err := io.ReadAll(answer.Body)
		connection.body = body
		return err
	}
	if int64(cap(connection.body)) < answer.ContentLength {
		connection.body = make([]byte, answer.ContentLength)
	}
	connection.body = connection.body[:answer.ContentLength]
	_, err := io.ReadFull(answer.Body, connection.body)
	return err
}

func (connection *connection) close() {
	if connection != nil {
		connection.raw.Close()
	}
}
