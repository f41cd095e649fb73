"""CORE. Values to decisions: what an agent may hold. Knows no X.509, no clock, no database.

May be called by `proofs`, `authority` and `store`; calls nothing but the identifiers and the refusals.
"""
