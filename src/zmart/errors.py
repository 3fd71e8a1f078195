"""Define the tree of errors. A message says what happened, why, and what to do."""

from __future__ import annotations

from collections.abc import Sequence


class ZmartError(Exception):
    """Serve as the base of every error that this project raises on purpose."""


def reason_of(problem: BaseException) -> str:
    """Return the message of an exception, or the name of its class if it has none."""
    return str(problem) or type(problem).__name__


class ConfigError(ZmartError):
    """A setting, or what it refers to, is missing or wrong; the message names it and says what to set."""


class SettingError(ConfigError):
    """The value of a setting is missing or wrong by itself: only another value helps, not a retry."""


class ChainError(ZmartError):
    """An RPC endpoint failed, or its answer cannot be used."""


class ProgramError(ChainError):
    """The on-chain program refused: `code` and `name` are those of its IDL.

    The code -1 stands for an error of the runtime.
    """

    def __init__(self, code: int, name: str, message: str) -> None:
        super().__init__(f"{name} ({code}): {message}")
        self.code = code
        self.name = name


class DecodeError(ChainError):
    """Bytes or a payload do not have the layout that they claim to have."""


class UnsupportedVersion(DecodeError):
    """A transaction has a version that this release cannot read.

    The transaction and the node are in order.
    """


class PricingError(ZmartError):
    """The pricing model refuses a trade; `name` is the program's error name for the same case."""

    def __init__(self, name: str, message: str = "") -> None:
        super().__init__(f"{name}: {message}" if message else name)
        self.name = name


class StoreError(ZmartError):
    """A server or a disk that stores data could not execute a request; the same request may succeed later.

    `server` names it ("PostgreSQL", "Redis"). `retry_after_s` is the number of seconds after which a retry makes sense.
    `setting` names the setting whose value makes the server refuse this process; such a refusal does not end by itself.
    """

    retry_after_s: float = 2.0

    def __init__(
        self,
        message: str,
        *,
        server: str = "PostgreSQL",
        retry_after_s: float | None = None,
        setting: str = "",
    ) -> None:
        super().__init__(message)
        self.server = server
        self.setting = setting
        if retry_after_s is not None:
            self.retry_after_s = retry_after_s


class Unavailable(StoreError):
    """The server cannot be reached, is starting or stopping, refuses the connection, or has stopped responding."""


class Busy(StoreError):
    """The server works, but could not execute the request now.

    The reason is a lock, a time limit, or a limit of its connections or memory.
    """


class RolledBack(Busy):
    """The server rolled the transaction back: a deadlock, or a conflict of two serializable transactions."""


class ReadOnly(StoreError):
    """The server executes reads and refuses every write."""

    retry_after_s = 30.0


class NotFound(ZmartError):
    """The requested object does not exist."""


class Conflict(ZmartError):
    """The request contradicts the present state of the object."""


class IndexIncomplete(ZmartError):
    """The index is not complete enough for a decision; the message says what is missing.

    The decision continues by itself once the index is gap-free through slot `needs_slot` and chain time `needs_time`.
    """

    def __init__(self, message: str, *, needs_slot: int, needs_time: int) -> None:
        super().__init__(message)
        self.needs_slot = needs_slot
        self.needs_time = needs_time


class Invalid(ZmartError):
    """A value does not meet its rule; `field` is the name of the value."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class InvalidFields(Invalid):
    """Several values do not meet their rules; `problems` has one error for each."""

    def __init__(self, problems: Sequence[Invalid]) -> None:
        super().__init__(problems[0].field, " ".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


def refuse_invalid(problems: Sequence[Invalid]) -> None:
    """Raise the problem, or InvalidFields if there are several; return if there are none."""
    if len(problems) > 1:
        raise InvalidFields(problems)
    for problem in problems:
        raise problem


class Unauthenticated(ZmartError):
    """The request does not prove which user sent it."""


class Forbidden(ZmartError):
    """The caller is known and may not do this."""


class NotEligible(Forbidden):
    """The wallet may not vote by the rule of the vote.

    Three sentences say why: `rule` is who may vote, `reason` is why this wallet may not, and `remedy` is what would
    make it eligible.
    """

    def __init__(self, rule: str, reason: str, remedy: str) -> None:
        super().__init__(f"{rule} {reason} {remedy}")
        self.rule = rule
        self.reason = reason
        self.remedy = remedy


class EligibilityUnknown(ChainError):
    """It cannot be determined now whether a wallet may vote. This counts neither for nor against the wallet."""
