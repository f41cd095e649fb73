"""The watchman: looks at the published revocation status as a stranger would, and says how fresh it is.

`lists`, `answers` and `chain` judge bytes at a moment; `fetch` gets the bytes; `look` follows the
pointers of certificates from one to the other; `report` and `serve` tell monitoring. It holds no
secret: what it needs is public, and what it trusts is the root.
"""
