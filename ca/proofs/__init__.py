"""SHELL. Proofs of identity: a credential to a `Proven`, one module a kind.

A proof says who asks and for which task; what may be had is `policy`'s to decide. Called by
`authority` inside the issuing transaction, so that a proof that can be used once is used once.
"""
