"""The authorization server's hook: what a certificate is worth now, and which tokens are bound to it.

Owns how a question is answered: who asks, what the certificate stands on (read as it is now, never kept), the
decision of `ca.policy.binding`, and the words of the answer (RFC 7662, 8693, 8705, 9396). Holds no SQL, HTTP or keys.
"""
