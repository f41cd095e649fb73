package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// introspect asks the authorization server's hook what certificates are worth (RFC 7662), over HTTPS with a key.
func introspect(arguments []string) error {
	flags, made := newFlags("introspect")
	root := flags.String("root", "", "the trust anchor, PEM")
	key := flags.String("key", "", "a file with the relying party's key")
	file := flags.String("names", "", "x5t#S256 of certificates, one a line")
	flags.BoolVar(&made.again, "again", false, "from the first certificate again after the last")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	server, err := newServer(made.url, *root, isActive)
	if err != nil {
		return err
	}
	if made.requests, err = prepareIntrospections(server, *key, *file, made.first); err != nil {
		return err
	}
	return made.run(server)
}

func prepareIntrospections(server *server, keyFile, file string, first int) ([][]byte, error) {
	keys, err := lines(keyFile)
	if err != nil || len(keys) != 1 {
		return nil, fmt.Errorf("%s holds no key: %v", keyFile, err)
	}
	names, err := lines(file)
	if err != nil {
		return nil, err
	}
	prepared := make([][]byte, 0, len(names))
	for _, name := range names[first:] {
		body := "x5t%23S256=" + name
		var request bytes.Buffer
		fmt.Fprintf(&request, "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n", server.path, server.address, keys[0])
		fmt.Fprintf(&request, "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		prepared = append(prepared, request.Bytes())
	}
	return prepared, nil
}

// isActive wants a certificate that is worth something.
func isActive(answer *http.Response, body []byte) error {
	if answer.StatusCode == http.StatusServiceUnavailable {
		return errTryLater
	}
	if answer.StatusCode == http.StatusOK && bytes.Contains(body, []byte(`"active":true`)) {
		return nil
	}
	return errors.New(answer.Status + ": " + strings.TrimSpace(string(body)))
}
