"""Write the parts of errors that explain how to prove who sends a request: which credential an operation accepts, which
text to sign, and where this is documented."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from zmart.client.shapes.system import FieldProblem
from zmart.errors import Unauthenticated
from zmart.services.gateway.http.security import OPERATOR_TOKEN, SESSION, SIGNATURE

WWW_AUTHENTICATE = 'Bearer realm="zmart"'
_DESCRIBED = "It is described at /docs, and in docs/api.md under `Who is calling`."
_SESSION = (
    "Bearer <session token>: POST /api/auth/nonce {wallet} answers with the text to sign, "
    "POST /api/auth/verify {wallet, message, signature} with the token."
)
_SIGNED = (
    "Or, as older clients do, sign `Sign this message to authenticate with ZMART: <milliseconds since 1970>` and send "
    "that text as message, with signature and wallet, in the body."
)
_OPERATOR = "Bearer <OPERATOR_TOKEN>; or a proof of the program's admin wallet, as follows."


class MissingStatement(Unauthenticated):
    """A vote has no valid proof. `statement` is the text that its wallet has to sign for it."""

    def __init__(self, message: str, statement: str) -> None:
        super().__init__(message)
        self.statement = statement


def proof_details(problem: Exception, proofs: Collection[str]) -> list[FieldProblem]:
    """Return the details of a 401 or 403: one entry for each way to prove who sends a request, of those in `proofs`
    that the operation accepts."""
    return [FieldProblem(field=field, message=message) for field, message in _ways(problem, proofs)]


def proof_message(problem: Unauthenticated, proofs: Collection[str]) -> str:
    """Return the message of a 401: what is wrong with the proof of the request, and which proof the operation needs."""
    if isinstance(problem, MissingStatement):
        return (
            f"{problem} Sign the text in details, to the letter, with the wallet that votes, and send it as "
            "`statement` with `signature` and `wallet`. It is described in docs/votes.md and at /docs. The text: "
            f"{problem.statement}"
        )
    if OPERATOR_TOKEN in proofs:
        needs = "send Authorization: Bearer <OPERATOR_TOKEN>, or sign in with the program's admin wallet"
    elif proofs:
        needs = "sign in with the wallet"
    else:
        return f"{problem} Sign the text of POST /api/auth/nonce to the letter. {_DESCRIBED}"
    return (
        f"{problem} For this call {needs}: POST /api/auth/nonce answers with the text to sign, "
        f"POST /api/auth/verify with the token for Authorization: Bearer <token>. {_DESCRIBED}"
    )


def _ways(problem: Exception, proofs: Collection[str]) -> Iterator[tuple[str, str]]:
    if isinstance(problem, MissingStatement):
        yield "statement", problem.statement
        yield "signature", "The wallet's signature over `statement`: 64 bytes in base58, base64 or hex."
        yield "wallet", "The wallet that votes, as in `statement`."
        return
    if OPERATOR_TOKEN in proofs:
        yield "Authorization", _OPERATOR
    if SESSION in proofs:
        yield "Authorization", _SESSION
    if SIGNATURE in proofs:
        yield "message", _SIGNED
