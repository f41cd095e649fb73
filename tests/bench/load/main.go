// Load asks a certificate authority for certificates, as many at once as it is told to, and says how long each took.
//
//	load csrs -count N                      N requests (PKCS #10) with a new P-256 key each: base64 of DER, one a line
//	load run  -url URL -root FILE ...       POSTs them with one token each over HTTPS, and prints one JSON object
//
// It shares its cores with the server that it measures, so it does as little as an honest client can:
// every request is made beforehand, one thread runs everything, and answers are read and dropped.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("say csrs or run"))
	}
	var err error
	switch verb, arguments := os.Args[1], os.Args[2:]; verb {
	case "csrs":
		err = csrs(arguments)
	case "run":
		err = run(arguments)
	default:
		err = fmt.Errorf("%q is neither csrs nor run", verb)
	}
	if err != nil {
		fail(err)
	}
}

func csrs(arguments []string) error {
	flags := flag.NewFlagSet("csrs", flag.ExitOnError)
	count := flags.Int("count", 1000, "how many")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	return writeRequests(os.Stdout, *count)
}

func run(arguments []string) error {
	flags := flag.NewFlagSet("run", flag.ExitOnError)
	url := flags.String("url", "", "where to POST")
	root := flags.String("root", "", "the trust anchor, PEM")
	csrFile := flags.String("csrs", "", "base64 of DER, one a line; the nth token goes with the nth of them, from the first again after the last")
	tokenFile := flags.String("tokens", "", "enrolment tokens, one a line; each is sent once")
	first := flags.Int("first", 0, "which token is the first to be sent")
	clients := flags.Int("clients", 1, "how many ask at once")
	fresh := flags.Bool("fresh", false, "a new connection with a full handshake for each request")
	warmUp := flags.Duration("warm-up", time.Second, "how long answers do not count yet")
	lasts := flags.Duration("duration", 5*time.Second, "how long they count")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	runtime.GOMAXPROCS(1)
	server, err := newServer(*url, *root)
	if err != nil {
		return err
	}
	posts, err := preparePosts(server, *csrFile, *tokenFile, *first)
	if err != nil {
		return err
	}
	load := newLoad(server, posts, *fresh, *warmUp, *lasts)
	load.run(*clients)
	return json.NewEncoder(os.Stdout).Encode(load.result(*clients))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "load:", err)
	os.Exit(1)
}
