"""The tree of errors: each says what happened, why, and what to do."""

from __future__ import annotations

from collections.abc import Sequence


class ZmartError(Exception):
    """Base of every error that this project raises on purpose."""


class ConfigError(ZmartError):
    """A setting is missing or wrong; the sentence names it and says what to set."""


class SettingError(ConfigError):
    """The value of a setting is missing or wrong, whatever else is true here: only another value helps."""


class ChainError(ZmartError):
    """An RPC endpoint failed or answered something that cannot be used."""


class ProgramError(ChainError):
    """The on-chain program refused: `code` and `name` as in its IDL."""

    def __init__(self, code: int, name: str, message: str) -> None:
        super().__init__(f"{name} ({code}): {message}")
        self.code = code
        self.name = name


class DecodeError(ChainError):
    """Bytes or a payload do not have the layout that they claim to have."""


class UnsupportedVersion(DecodeError):
    """A transaction has a version that this release cannot read; nothing is wrong with it or with the node."""


class PricingError(ZmartError):
    """The pricing model refuses a trade; `name` is the program's error name for the same case."""

    def __init__(self, name: str, message: str = "") -> None:
        super().__init__(f"{name}: {message}" if message else name)
        self.name = name


class StoreError(ZmartError):
    """A server or disk that keeps data could not do what was asked; the same request may succeed later.

    `server` names it ("PostgreSQL", "Redis"). `retry_after_s` is when to try again: as soon as that makes sense, or as
    the server said. `setting` names the setting with which the server refuses us: it does not end by itself.
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
    """The server cannot be reached, is starting or ending, refuses the connection, or stopped answering."""


class Busy(StoreError):
    """The server works, but not on this now: a lock, a time limit, its connections or its memory stood against it."""


class RolledBack(Busy):
    """The server undid the transaction in favor of another: a deadlock, or two that cannot be serialized."""


class ReadOnly(StoreError):
    """The server answers reads and refuses every write."""

    retry_after_s = 30.0


class NotFound(ZmartError):
    """The requested object does not exist."""


class Conflict(ZmartError):
    """The request contradicts the present state."""


class IndexIncomplete(ZmartError):
    """The index is not complete yet for a decision; the sentence says what is missing. The decision goes
    on by itself when the index is gap-free through `needs_slot` and chain time `needs_time`."""

    def __init__(self, message: str, *, needs_slot: int, needs_time: int) -> None:
        super().__init__(message)
        self.needs_slot = needs_slot
        self.needs_time = needs_time


class Invalid(ZmartError):
    """A value does not meet its rule; `field` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class InvalidFields(Invalid):
    """Several values do not meet their rules: `problems`, one for each."""

    def __init__(self, problems: Sequence[Invalid]) -> None:
        super().__init__(problems[0].field, " ".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


def refuse_invalid(problems: Sequence[Invalid]) -> None:
    """Raise the problem, or InvalidFields if there are several; return if there is none."""
    if len(problems) > 1:
        raise InvalidFields(problems)
    for problem in problems:
        raise problem


class Unauthenticated(ZmartError):
    """The request does not prove who sent it."""


class Forbidden(ZmartError):
    """The caller is known and may not do this."""


class NotEligible(Forbidden):
    """The wallet is not eligible by the rule of the vote. `rule`, `reason` and `remedy` are sentences: who may vote,
    why this wallet may not, and what would make it eligible."""

    def __init__(self, rule: str, reason: str, remedy: str) -> None:
        super().__init__(f"{rule} {reason} {remedy}")
        self.rule = rule
        self.reason = reason
        self.remedy = remedy


class EligibilityUnknown(ChainError):
    """Whether a wallet may vote cannot be determined now: that is neither a yes nor a no."""
