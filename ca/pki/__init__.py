"""CORE. Values to bytes and bytes to values: requests, certificates, CRLs, and the lint before a signature.

Owns every byte of X.509 that this authority makes. Knows no policy, no clock, no disk, no
network and no database: time, serials and randomness are parameters. Anyone above may call it.
"""
