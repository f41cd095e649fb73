"""The certificate authority: turns a proven request into a certificate, and takes it back.

The rooms, from the outside in: `web` (HTTP), `authority` (the order of each act), `proofs` and
`audit`, `store` (the database) and `hsm` (the token), and the core, `pki` and `policy`, which
turns values into bytes and decisions and knows neither clock, disk, network nor database.
"""
