// Load asks a certificate authority for certificates, or a responder for answers, as many at once as it is told to,
// and says how long each took.
//
//	load csrs  -count N                    N requests (PKCS #10) with a new P-256 key each: base64 of DER, one a line
//	load enrol -url URL -root FILE ...     POSTs them with one token each over HTTPS, and prints one JSON object
//	load ask   -url URL -questions FILE    POSTs or GETs OCSP requests over HTTP, and prints one JSON object
//	load introspect -url URL -names FILE   POSTs questions to the hook over HTTPS, and prints one JSON object
//
// It shares its cores with the server that it measures, so it does as little as an honest client can:
// every request is made beforehand, one thread runs everything, and answers are read and dropped.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"time"
)

func main() {
	verbs := map[string]func([]string) error{"csrs": csrs, "enrol": enrol, "ask": ask, "introspect": introspect}
	if len(os.Args) < 2 || verbs[os.Args[1]] == nil {
		fail(fmt.Errorf("say csrs, enrol, ask or introspect"))
	}
	if err := verbs[os.Args[1]](os.Args[2:]); err != nil {
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

func enrol(arguments []string) error {
	flags, made := newFlags("enrol")
	root := flags.String("root", "", "the trust anchor, PEM")
	csrFile := flags.String("csrs", "", "base64 of DER, one a line; the nth token goes with the nth of them, from the first again after the last")
	tokenFile := flags.String("tokens", "", "enrolment tokens, one a line; each is sent once")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	server, err := newServer(made.url, *root, isCreated)
	if err != nil {
		return err
	}
	if made.requests, err = preparePosts(server, *csrFile, *tokenFile, made.first); err != nil {
		return err
	}
	return made.run(server)
}

func ask(arguments []string) error {
	flags, made := newFlags("ask")
	file := flags.String("questions", "", "base64 of OCSP requests in DER, one a line")
	get := flags.Bool("get", false, "GET (RFC 6960 A.1) instead of POST")
	flags.BoolVar(&made.again, "again", false, "from the first question again after the last")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	server, err := newServer(made.url, "", isAnswered)
	if err != nil {
		return err
	}
	if made.requests, err = prepareQuestions(server, *file, *get, made.first); err != nil {
		return err
	}
	return made.run(server)
}

// settings are what every load has; it ends before its time at an interrupt.
type settings struct {
	url      string
	clients  int
	first    int
	fresh    bool
	again    bool
	rate     float64
	warmUp   time.Duration
	lasts    time.Duration
	requests [][]byte
	ends     chan os.Signal
}

func newFlags(verb string) (*flag.FlagSet, *settings) {
	flags, made := flag.NewFlagSet(verb, flag.ExitOnError), &settings{ends: make(chan os.Signal, 1)}
	signal.Notify(made.ends, os.Interrupt)
	flags.StringVar(&made.url, "url", "", "where to ask")
	flags.IntVar(&made.clients, "clients", 1, "how many ask at once")
	flags.IntVar(&made.first, "first", 0, "which token or question is the first to be sent")
	flags.BoolVar(&made.fresh, "fresh", false, "a new connection, with a full handshake, for each request")
	flags.Float64Var(&made.rate, "rate", 0, "requests a second, each counted from when it was due; 0 for as many as are answered")
	flags.DurationVar(&made.warmUp, "warm-up", time.Second, "how long answers do not count yet")
	flags.DurationVar(&made.lasts, "duration", 5*time.Second, "how long they count")
	return flags, made
}

func (made *settings) run(server *server) error {
	runtime.GOMAXPROCS(1)
	load := newLoad(server, made)
	go func() {
		<-made.ends
		load.stopped.Store(true)
	}()
	load.run(made.clients)
	return json.NewEncoder(os.Stdout).Encode(load.result(made.clients))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "load:", err)
	os.Exit(1)
}
