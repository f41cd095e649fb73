"""What every request body and answer is made of: strict members, RFC 3339 times, pages."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Query
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict

from ca.identifiers import TenantId

DEFAULT_TENANT = "default"


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("there is no such time in UTC") from None


Time = Annotated[AwareDatetime, AfterValidator(_in_utc)]
Limit = Annotated[int, Query(ge=1, le=1000, description="How many at most.")]
Cursor = Annotated[str | None, Query(max_length=200, description="`next` of the page before.")]


class Body(BaseModel):
    """A JSON object whose unknown members are refused."""

    model_config = ConfigDict(extra="forbid", strict=False, str_max_length=16384)


def rfc3339(moment: datetime | None) -> str | None:
    """A moment as RFC 3339 writes it: UTC, whole seconds, `Z`."""
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def tenant_id(text: str | None) -> TenantId:
    """The tenant of a request; without one, the default tenant."""
    return TenantId(DEFAULT_TENANT if text is None else text)


def page(items: list[dict[str, Any]], limit: int, cursor: str) -> dict[str, Any]:
    """A page of `items`, of which one more than `limit` was read; `next` is the cursor of the page after it."""
    return {"items": items[:limit], "next": cursor if len(items) > limit else None}
