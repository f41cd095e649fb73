"""What an agent imports, and the command `remit`: a client of the authority's API.

Owns the agent's own key, its files on disk, and how it asks for a certificate. Knows nothing of
the servers but their HTTP; `ca`, `ocsp` and `softhsm` are never imported here.
"""
