"""Whether a commit of this database outlives a power cut: an answer is given on nothing less.

SQLite is opened so that it does (`transaction.open_engine`). PostgreSQL is as its administrator
left it: any of these settings, made for a server, a database or a role, loses what was answered.
"""

from __future__ import annotations

from sqlalchemy import Connection

_NEEDED = {"synchronous_commit": ("on", "remote_apply"), "fsync": ("on",), "full_page_writes": ("on",)}


def shortfall(connection: Connection) -> str | None:
    """One sentence that names the setting and the mend; None when commits are durable.

    A hot standby is named too: it takes no commit at all.
    """
    if connection.dialect.name != "postgresql":
        return None
    if connection.exec_driver_sql("SELECT pg_is_in_recovery()").scalar_one():
        return "The database is a standby, which takes no writes: name the primary in REMIT_DATABASE_URL."
    for setting, accepted in _NEEDED.items():
        value = connection.exec_driver_sql(f"SHOW {setting}").scalar_one()
        if value not in accepted:
            return f"PostgreSQL's {setting} is {value}, so a commit can be lost after it was answered: set it to on."
    return None
