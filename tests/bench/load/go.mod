module remit.example/tests/bench/load

// The oldest Go with atomic.Int64; Debian 12 ships it. Only the standard library is used.
go 1.19
