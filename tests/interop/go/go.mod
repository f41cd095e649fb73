module remit.example/tests/interop/verify

// The oldest Go that has x509.ParseRevocationList; Debian 12 ships it. The newest x/crypto that it builds is the one below.
go 1.19

require golang.org/x/crypto v0.33.0
