package main

import (
	"sort"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// load is one measurement. What is answered between `from` and `until` counts.
type load struct {
	server *server
	posts  [][]byte
	fresh  bool
	from   time.Time
	until  time.Time
	next   atomic.Int64
	tally  []tally
}

// tally is what one client saw.
type tally struct {
	took   []time.Duration
	errors int
	first  string
}

// result is what is printed. Times are in milliseconds.
type result struct {
	Clients    int     `json:"clients"`
	Fresh      bool    `json:"fresh"`
	Seconds    float64 `json:"seconds"`
	Count      int     `json:"count"`
	Errors     int     `json:"errors"`
	FirstError string  `json:"first_error,omitempty"`
	Sent       int     `json:"sent"`
	Rate       float64 `json:"rate"`
	P50        float64 `json:"p50_ms"`
	P95        float64 `json:"p95_ms"`
	P99        float64 `json:"p99_ms"`
	Max        float64 `json:"max_ms"`
	CPUSeconds float64 `json:"load_cpu_seconds"`
}

func newLoad(server *server, posts [][]byte, fresh bool, warmUp, lasts time.Duration) *load {
	from := time.Now().Add(warmUp)
	return &load{server: server, posts: posts, fresh: fresh, from: from, until: from.Add(lasts)}
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

// client sends one request after another until time or the tokens are up.
func (load *load) client(tally *tally) {
	var open *connection
	defer func() { open.close() }()
	for time.Now().Before(load.until) {
		i := int(load.next.Add(1)) - 1
		if i >= len(load.posts) {
			return
		}
		start := time.Now()
		var err error
		open, err = load.ask(open, load.posts[i])
		load.count(tally, start, err)
	}
}

// ask takes the open connection, or a new one where there is none, and returns what can be used again.
func (load *load) ask(open *connection, post []byte) (*connection, error) {
	if open == nil {
		made, err := load.server.connect()
		if err != nil {
			return nil, err
		}
		open = made
	}
	reusable, err := open.exchange(post)
	if load.fresh || !reusable {
		open.close()
		return nil, err
	}
	return open, err
}

// count notes an answer in the measured time; errors count whenever they come.
func (load *load) count(tally *tally, start time.Time, err error) {
	end := time.Now()
	if err != nil {
		tally.errors++
		if tally.first == "" {
			tally.first = err.Error()
		}
		return
	}
	if !end.Before(load.from) && end.Before(load.until) {
		tally.took = append(tally.took, end.Sub(start))
	}
}

func (load *load) result(clients int) result {
	var took []time.Duration
	made := result{Clients: clients, Fresh: load.fresh, Sent: load.sent()}
	for _, one := range load.tally {
		took = append(took, one.took...)
		made.Errors += one.errors
		if made.FirstError == "" {
			made.FirstError = one.first
		}
	}
	sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
	made.Count = len(took)
	made.Seconds = load.measured().Seconds()
	made.Rate = float64(made.Count) / made.Seconds
	made.P50, made.P95, made.P99, made.Max = at(took, 0.50), at(took, 0.95), at(took, 0.99), at(took, 1)
	made.CPUSeconds = cpuSeconds()
	return made
}

// measured is shorter than planned when the tokens were up before the time was.
func (load *load) measured() time.Duration {
	if now := time.Now(); now.Before(load.until) {
		return now.Sub(load.from)
	}
	return load.until.Sub(load.from)
}

func (load *load) sent() int {
	if next := int(load.next.Load()); next < len(load.posts) {
		return next
	}
	return len(load.posts)
}

// at is the latency in milliseconds that this share of the answers did not exceed.
func at(sorted []time.Duration, share float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	place := int(share * float64(len(sorted)))
	if place >= len(sorted) {
		place = len(sorted) - 1
	}
	return float64(sorted[place].Microseconds()) / 1000
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}
