package main

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// load is one measurement. What is answered between `from` and `until` counts.
type load struct {
	*settings
	server  *server
	begun   time.Time
	from    time.Time
	until   time.Time
	next    atomic.Int64
	stopped atomic.Bool
	tally   []tally
}

// tally is what one client saw.
type tally struct {
	answers []answered
	later   int
	errors  int
	first   string
}

// answered is when an answer came, and how long it took.
type answered struct {
	at   time.Time
	took time.Duration
}

func newLoad(server *server, settings *settings) *load {
	begun := time.Now()
	from := begun.Add(settings.warmUp)
	return &load{settings: settings, server: server, begun: begun, from: from, until: from.Add(settings.lasts)}
}

func (load *load) run(clients int) {
	load.tally = make([]tally, clients)
	var running sync.WaitGroup
	for i := range load.tally {
		running.Add(1)
		go func(tally *tally) {
			defer running.Done()
			load.client(tally)
		}(&load.tally[i])
	}
	running.Wait()
}

// client sends one request after another until time or the requests are up.
func (load *load) client(tally *tally) {
	var open *connection
	defer func() { open.close() }()
	for !load.stopped.Load() && time.Now().Before(load.until) {
		number := int(load.next.Add(1)) - 1
		if !load.again && number >= len(load.requests) {
			return
		}
		start := load.due(number)
		var err error
		open, err = load.exchange(open, load.requests[number%len(load.requests)])
		load.count(tally, start, err)
	}
}

// due waits until the request of this number may be sent, and says since when it should have been.
func (load *load) due(number int) time.Time {
	if load.rate == 0 {
		return time.Now()
	}
	due := load.begun.Add(time.Duration(float64(number) / load.rate * float64(time.Second)))
	time.Sleep(time.Until(due))
	return due
}

// exchange takes the open connection, or a new one where there is none, and returns what can be used again.
func (load *load) exchange(open *connection, request []byte) (*connection, error) {
	if open == nil {
		made, err := load.server.connect()
		if err != nil {
			return nil, err
		}
		open = made
	}
	reusable, err := open.exchange(request, load.server.judge)
	if load.fresh || !reusable {
		open.close()
		return nil, err
	}
	return open, err
}

// count notes an answer in the measured time; errors count whenever they come.
func (load *load) count(tally *tally, start time.Time, err error) {
	end := time.Now()
	counts := !end.Before(load.from) && end.Before(load.until)
	switch {
	case errors.Is(err, errTryLater):
		if counts {
			tally.later++
		}
	case err != nil:
		tally.errors++
		if tally.first == "" {
			tally.first = err.Error()
		}
	case counts:
		tally.answers = append(tally.answers, answered{end, end.Sub(start)})
	}
}
