"""`remit enroll --watch`: keeps the files of a directory live, and whoever uses them told, for as long as it runs.

Owns the watch, the program it starts, what is done after each new certificate, and two probes. When and what is asked
of the authority is `remit.holder`'s. Nothing here writes to standard output, which is the program's.
"""
