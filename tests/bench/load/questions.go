package main

import (
	"bytes"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Response statuses (RFC 6960 4.2.1).
const (
	successful = 0
	tryLater   = 3
)

var errTryLater = errors.New("try later")

// prepareQuestions makes whole HTTP/1.1 requests of OCSP requests, ready to be written to a connection.
func prepareQuestions(server *server, file string, get bool, first int) ([][]byte, error) {
	encoded, err := lines(file)
	if err != nil {
		return nil, err
	}
	prepared := make([][]byte, 0, len(encoded))
	for i := first; i < len(encoded); i++ {
		if get {
			prepared = append(prepared, server.get(encoded[i]))
			continue
		}
		der, err := base64.StdEncoding.DecodeString(encoded[i])
		if err != nil {
			return nil, err
		}
		prepared = append(prepared, server.ask(der))
	}
	return prepared, nil
}

func (server *server) get(question string) []byte {
	path := strings.TrimSuffix(server.path, "/") + "/" + url.QueryEscape(question)
	return []byte(fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, server.address))
}

func (server *server) ask(der []byte) []byte {
	var request bytes.Buffer
	fmt.Fprintf(&request, "POST %s HTTP/1.1\r\nHost: %s\r\n", server.path, server.address)
	fmt.Fprintf(&request, "Content-Type: application/ocsp-request\r\nContent-Length: %d\r\n\r\n", len(der))
	request.Write(der)
	return request.Bytes()
}

// isAnswered wants a response that is signed; try later is told apart, however it is said.
func isAnswered(answer *http.Response, body []byte) error {
	if answer.StatusCode == http.StatusServiceUnavailable {
		return errTryLater
	}
	if answer.StatusCode != http.StatusOK {
		return errors.New(answer.Status)
	}
	switch status := responseStatus(body); status {
	case successful:
		return nil
	case tryLater:
		return errTryLater
	default:
		return fmt.Errorf("OCSP response status %d", status)
	}
}

// responseStatus is the first element of an OCSPResponse, an ENUMERATED; -1 where there is none.
func responseStatus(body []byte) int {
	at := 2
	if len(body) > 1 && body[1]&0x80 != 0 {
		at += int(body[1] & 0x7f)
	}
	if len(body) < at+3 || body[at] != asn1.TagEnum || body[at+1] != 1 {
		return -1
	}
	return int(body[at+2])
}
