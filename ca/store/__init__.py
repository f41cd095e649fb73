"""SHELL. The database: tables, transactions, and the named queries, one file a noun.

Owns every line of SQL and every schema migration. Decides nothing: a query takes and returns
values of the core. May be called by `proofs`, `audit` and `authority`; the status service calls
`ca.store.status` alone.
"""
