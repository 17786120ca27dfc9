"""What EventBridge's requests and answers have in common: ARNs, pages, refusals."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from afterwrite.config import Identity
from afterwrite.errors import ServiceError
from afterwrite.server.eventbridge_constraints import PAGE_MAX
from afterwrite.table import fields

Body: TypeAlias = Mapping[str, Any]

_Listed = TypeVar("_Listed")

DEFAULT_BUS = "default"


@dataclass(frozen=True, slots=True)
class Arns:
    """ARNs of what EventBridge has, and of what its rules lead to."""

    identity: Identity

    def of(self, service: str, resource: str) -> str:
        """The ARN of another service's resource."""
        return f"arn:aws:{service}:{self.identity.region}:{self.identity.account_id}:{resource}"

    def bus(self, name: str) -> str:
        """A bus's ARN."""
        return self.of("events", f"event-bus/{name}")

    def archive(self, name: str) -> str:
        """An archive's ARN."""
        return self.of("events", f"archive/{name}")

    def replay(self, name: str) -> str:
        """A replay's ARN."""
        return self.of("events", f"replay/{name}")

    def rule(self, bus: str, name: str) -> str:
        """The ARN of a bus's rule; those of the default bus do without its name."""
        return self.of("events", f"rule/{name}" if bus == DEFAULT_BUS else f"rule/{bus}/{name}")


def last_part(arn_or_name: str) -> str:
    """The name at the end of an ARN; a name as it is."""
    return arn_or_name.rpartition("/")[2]


def invalid(field: str, reason: str) -> ServiceError:
    """The refusal of a field's value."""
    return ServiceError("ValidationException", f"Parameter {field} is not valid. Reason: {reason}")


def not_found(what: str) -> ServiceError:
    """The refusal of a request for what is not there."""
    return ServiceError("ResourceNotFoundException", f"{what} does not exist.")


def check_one_filter(operation: str, body: Body) -> None:
    """Refuse a list of archives or replays that is to be filtered in more than one way."""
    if sum(body.get(field) is not None for field in ("NamePrefix", "EventSourceArn", "State")) > 1:
        raise ServiceError(
            "ValidationException",
            f"At most one filter is allowed for {operation}. Use either : State, EventSourceArn, or NamePrefix.",
        )


def page_by_prefix(body: Body, named: Mapping[str, _Listed]) -> tuple[Sequence[_Listed], Mapping[str, str]]:
    """A page of what is listed, of those whose names begin as the request says."""
    prefix = fields.text(body, "NamePrefix") or ""
    return page(body, {name: each for name, each in named.items() if name.startswith(prefix)})


def page(body: Body, named: Mapping[str, _Listed]) -> tuple[Sequence[_Listed], Mapping[str, str]]:
    """A page of what is listed, by its names, and the token of the next one where there is one."""
    limit = fields.integer(body, "Limit") or PAGE_MAX
    after = _after(fields.text(body, "NextToken"))
    names = sorted(name for name in named if name > after)
    token = {"NextToken": base64.urlsafe_b64encode(names[limit - 1].encode()).decode()} if len(names) > limit else {}
    return [named[name] for name in names[:limit]], token


def _after(token: str | None) -> str:
    """The name after which a page begins."""
    try:
        return base64.b64decode(token or "", b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise ServiceError("InvalidToken", "The NextToken is none that was given.") from None
