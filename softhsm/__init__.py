"""The embedded token: SoftHSM found, configured and initialised, so that a first run needs no hardware.

Owns the places where the library may be, the configuration file, and the making of a token with
its PINs. Knows no key and no certificate, and logs in only while it makes the token; a hardware
module has its own tools for all this and never meets this room. Called by `ca.config` (where is
the module), by the ceremony (make the token) and by the servers (which configuration to read).
"""
