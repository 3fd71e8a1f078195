"""Serve the page on which an operator confirms an action with OPERATOR_TOKEN, and the page with its result."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from urllib.parse import parse_qs

import jinja2
import msgspec

from zmart.errors import Conflict, Forbidden, Invalid, NotFound, StoreError, ZmartError
from zmart.ops.operator_actions import ActionRequest, OperatorAction, perform
from zmart.services.connection_bounds import SlowBody, UnfinishedBody
from zmart.services.contract import Receive, Scope
from zmart.services.plain_http import read_body
from zmart.store.pool import Pool
from zmart.store.time_limit import answer_within

_WITHIN_S = 5.0
_MOST_BODY_BYTES = 8_192
_MOST_FIELDS = 8
_STATUS: Mapping[type[ZmartError], int] = {Invalid: 400, Forbidden: 403, NotFound: 404, Conflict: 409}
_TITLES = {
    OperatorAction.DECIDE: "Decide now",
    OperatorAction.RESOLVE: "Resolve the intent",
    OperatorAction.REPLAY: "Replay",
}
_EFFECTS = {
    OperatorAction.DECIDE: "The aggregator and the monitor look at market {} at once, whatever pause it has. The chain "
    "and the index decide what is due; nothing is sent twice.",
    OperatorAction.RESOLVE: "Records what became of the intent {}, which could not be judged. Look for its signatures "
    "in an explorer and at the market's account first.",
    OperatorAction.REPLAY: "What could not be indexed ({}) is tried again at once.",
}


class ActionPage:
    """Show the form of an action for GET and HEAD, and perform the action for POST.

    Each POST carries the operator's token. There is no session or cookie that another web page could misuse.
    """

    def __init__(self, pool: Pool, operator_token: str, template: jinja2.Template) -> None:
        self._pool = pool
        self._token = operator_token.encode()
        self._template = template

    async def answer(self, scope: Scope, receive: Receive) -> tuple[int, str]:
        """Return the HTTP status and the HTML page. Errors of the action become 400, 403, 404, 409 or 503 with a page.

        Raises SlowBody and UnfinishedBody; the HTTP server answers these.
        """
        fields: dict[str, str] = {}
        request: ActionRequest | None = None
        try:
            fields = await _fields(scope, receive)
            request = _request(fields)
            if scope["method"] != "POST":
                return 200, self._page(request)
            self._authorize(fields.get("token", ""))
            async with answer_within(_WITHIN_S):
                return 200, self._page(request, result=await perform(self._pool, request))
        except (SlowBody, UnfinishedBody):
            raise
        except StoreError as problem:
            return 503, self._page(request, problem=str(problem))
        except ZmartError as problem:
            return _status_of(problem), self._page(request, problem=str(problem))

    def _authorize(self, token: str) -> None:
        if not self._token:
            raise Forbidden("OPERATOR_TOKEN is not set for this gateway: without it nobody may.")
        if not hmac.compare_digest(token.encode(), self._token):
            raise Forbidden("This is not the operator's token.")

    def _page(self, request: ActionRequest | None, problem: str = "", result: str = "") -> str:
        if request is None:
            return self._template.render(title="No such action", problem=problem)
        return self._template.render(
            title=_TITLES[request.action],
            effect=_EFFECTS[request.action].format(request.target),
            problem=problem,
            result=result,
            **{**msgspec.structs.asdict(request), "action": request.action.value},
        )


def _status_of(problem: ZmartError) -> int:
    return next((status for kind, status in _STATUS.items() if isinstance(problem, kind)), 400)


async def _fields(scope: Scope, receive: Receive) -> dict[str, str]:
    form: bytes | None = scope["query_string"]
    if scope["method"] == "POST":
        form = await read_body(receive, _MOST_BODY_BYTES)
    if form is None:
        raise Invalid("body", f"The form may have at most {_MOST_BODY_BYTES} bytes.")
    try:
        fields = parse_qs(form.decode(), max_num_fields=_MOST_FIELDS, errors="strict")
    except UnicodeDecodeError:
        raise Invalid("body", "The form is not UTF-8.") from None
    except ValueError:
        raise Invalid("body", f"The form may have at most {_MOST_FIELDS} fields.") from None
    return {name: values[-1] for name, values in fields.items()}


def _request(fields: Mapping[str, str]) -> ActionRequest:
    action = next((each for each in OperatorAction if each.value == fields.get("action")), None)
    target = fields.get("target", "")
    if action is None or not target or len(target) > 100:
        raise Invalid(
            "action", f"There is no such action: {', '.join(each.value for each in OperatorAction)}."
        )
    return ActionRequest(
        action=action,
        target=target,
        outcome=fields.get("outcome", ""),
        reason=fields.get("reason", ""),
        confirmed=fields.get("confirmed") == "yes",
    )
