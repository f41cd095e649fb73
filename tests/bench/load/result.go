package main

import (
	"sort"
	"syscall"
	"time"
)

// result is what is printed. Times are in milliseconds, but for those that say otherwise.
type result struct {
	Clients    int     `json:"clients"`
	Fresh      bool    `json:"fresh"`
	Seconds    float64 `json:"seconds"`
	Count      int     `json:"count"`
	TryLater   int     `json:"try_later"`
	Errors     int     `json:"errors"`
	FirstError string  `json:"first_error,omitempty"`
	Sent       int     `json:"sent"`
	Rate       float64 `json:"rate"`
	P50        float64 `json:"p50_ms"`
	P95        float64 `json:"p95_ms"`
	P99        float64 `json:"p99_ms"`
	Max        float64 `json:"max_ms"`
	LongestGap float64 `json:"longest_gap_ms"`
	CPUSeconds float64 `json:"load_cpu_seconds"`
}

func (load *load) result(clients int) result {
	end := load.end()
	var answers []answered
	made := result{Clients: clients, Fresh: load.fresh, Sent: load.sent()}
	for _, one := range load.tally {
		answers = append(answers, one.answers...)
		made.TryLater += one.later
		made.Errors += one.errors
		if made.FirstError == "" {
			made.FirstError = one.first
		}
	}
	made.Count = len(answers)
	made.Seconds = end.Sub(load.from).Seconds()
	made.Rate = float64(made.Count) / made.Seconds
	made.LongestGap = milliseconds(longestGap(answers, load.from, end))
	sort.Slice(answers, func(i, j int) bool { return answers[i].took < answers[j].took })
	made.P50, made.P95, made.P99, made.Max = at(answers, 0.50), at(answers, 0.95), at(answers, 0.99), at(answers, 1)
	made.CPUSeconds = cpuSeconds()
	return made
}

// end is earlier than planned when the requests were up before the time was, or at an interrupt.
func (load *load) end() time.Time {
	if now := time.Now(); now.Before(load.until) {
		return now
	}
	return load.until
}

func (load *load) sent() int {
	if next := int(load.next.Load()); load.again || next < len(load.requests) {
		return next
	}
	return len(load.requests)
}

// longestGap is the longest time in which no answer came to anyone. It sorts the answers by time.
func longestGap(answers []answered, from, until time.Time) time.Duration {
	sort.Slice(answers, func(i, j int) bool { return answers[i].at.Before(answers[j].at) })
	longest, last := time.Duration(0), from
	for _, one := range answers {
		if gap := one.at.Sub(last); gap > longest {
			longest = gap
		}
		last = one.at
	}
	if gap := until.Sub(last); gap > longest {
		longest = gap
	}
	return longest
}

// at is the latency in milliseconds that this share of the answers did not exceed.
func at(sorted []answered, share float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	place := int(share * float64(len(sorted)))
	if place >= len(sorted) {
		place = len(sorted) - 1
	}
	return milliseconds(sorted[place].took)
}

func milliseconds(took time.Duration) float64 {
	return float64(took.Microseconds()) / 1000
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}
