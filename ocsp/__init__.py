"""The status service: OCSP (RFC 6960, RFC 5019, RFC 9654), CRLs and CA certificates over plain HTTP.

A process of its own with a key of its own: it reads the status tables and never writes, signs with
the delegated responder's key and never with a CA's, and goes on saying what is published while the
authority or the token is away.

    bytes -wire-> cache                                         the octets of a request that came before
          -app-> cache                                          a question that came before
          -app-> request -> view -> answer -> signer -> cache   anything else
    a URL -app-> publications -> conditions                     lists, whole and in part

`request`, `spelling` and `answer` are CORE: values and bytes, no clock, no disk, no network.
Never in this room: an issuing key, a write to the database, a decision about a certificate, a web
framework, a parser that was not made for strangers' bytes. Nobody calls it but its own server,
`python -m ocsp.server`, and HTTP.
"""
