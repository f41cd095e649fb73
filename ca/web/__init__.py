"""SHELL. HTTP: bytes to values, callers to permissions, refusals to problems. Decides nothing else.

One file a noun. Nothing here touches SQL, keys or DER beyond handing them on.
"""
