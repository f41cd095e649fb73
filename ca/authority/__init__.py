"""ORDER. One verb a file: what happens in which order, and what is already true if we die on a line.

Owns the sequence of each act and nothing else: deciding is `policy`'s, bytes are `pki`'s, SQL is
`store`'s, the key is `hsm`'s. Called by `web` and by the servers.
"""
