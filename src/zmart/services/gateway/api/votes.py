"""Handle votes: cast, count, list and prove them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from litestar import Router, get, post
from litestar.params import BodyKwarg, QueryParameter
from solders.keypair import Keypair

from zmart.client.shapes import votes as shapes
from zmart.errors import Invalid, Unauthenticated
from zmart.market.amounts import percent
from zmart.market.identifiers import MarketRef
from zmart.market.outcomes import choice_name
from zmart.market.times import iso, ms_of
from zmart.market.types import MarketId, VoteKind, Wallet
from zmart.market.votes import Statement, vote_of_choice
from zmart.proofs.log_documents import MAX_PAGE, LogPage, VoteProof
from zmart.services.gateway.api import lookup, paging, schemas
from zmart.services.gateway.api.paging import Cursor, Limit, Offset, VoteKey
from zmart.services.gateway.api.parameters import MarketKeyInPath, WalletInPath, WalletInQuery, between
from zmart.services.gateway.context import AppContext, Context
from zmart.services.gateway.http.auth.proof_help import MissingStatement
from zmart.services.gateway.http.request_auth import Auth, RequestAuth
from zmart.services.gateway.http.request_guard import LIMIT
from zmart.services.gateway.http.responses import CHAIN
from zmart.services.gateway.http.security import PUBLIC_OR_WALLET
from zmart.services.gateway.openapi.declarations import A_MARKET, A_SIGNATURE, A_WALLET, example, refusals
from zmart.services.request_body import RequestBody
from zmart.store import vote_lists, votes
from zmart.store.vote_lists import ListedVote
from zmart.votes import casting, vote_log
from zmart.votes.casting import AcceptedVote
from zmart.votes.command import AcceptancePolicy, CastVote


class Ballot(RequestBody, frozen=True, kw_only=True):
    """A vote on the market `market_id` (or `proposal_id`), as `vote` or `vote_choice`. In a dispute, true means that
    the proposed outcome is wrong. A provable vote has a `statement`, the wallet's `signature` over it, and the
    `wallet`."""

    market_id: schemas.MaybeMarketKey = None
    proposal_id: schemas.MaybeMarketKey = None
    vote: bool | None = None
    vote_choice: schemas.Choice | None = None
    statement: str | None = None
    signature: str | None = None
    wallet: schemas.MaybeWallet = None
    user: schemas.MaybeWallet = None
    user_wallet: schemas.MaybeWallet = None
    message: str | None = None

    @classmethod
    def missing(cls, given: Collection[str]) -> Iterator[Invalid]:
        """Yield one problem for each field that is missing beside the fields in `given`. With a legacy `message`, the
        signature signs that message, and no statement is needed."""
        if not {"market_id", "proposal_id"} & set(given):
            yield Invalid("market_id", "market_id is missing: which market do you vote on?")
        if not {"vote", "vote_choice"} & set(given):
            yield Invalid("vote", "vote (true or false) or vote_choice is missing.")
        if "message" in given:
            return
        if proof := {"statement", "signature"} & set(given):
            for name in sorted({"statement", "signature"} - proof):
                yield Invalid(name, f"{name} is missing: a provable vote brings `statement` and `signature`.")
            if not {"wallet", "user", "user_wallet"} & set(given):
                yield Invalid("wallet", "wallet is missing: whose statement is this?")


def _ballot(kind: str, choice: str) -> BodyKwarg:
    statement = (
        "ZMART vote\nprogram: 6s8bbbCS7oNYNnTUHgrPDHG4jqaSrD6MSxQSPVR1rxw\n"
        f"market: {A_MARKET}\nkind: {kind}\nchoice: {choice}\nwallet: {A_WALLET}\nissued: 2026-01-15T12:00:00.000Z"
    )
    return example(market_id=A_MARKET, vote=True, wallet=A_WALLET, statement=statement, signature=A_SIGNATURE)


@post(
    "/votes/proposal",
    operation_id="VoteOnProposal",
    security=PUBLIC_OR_WALLET,
    responses=refusals(401, 403, 404, 409),
    opt={LIMIT: "votes"},
)
async def vote_on_proposal(
    context: Context, auth: Auth, data: Annotated[Ballot, _ballot("proposal", "like")]
) -> shapes.VoteAnswer:
    """Vote on a proposal: like or dislike it."""
    return await _cast(context, auth, VoteKind.PROPOSAL, data)


@post(
    "/votes/dispute",
    operation_id="VoteOnDispute",
    security=PUBLIC_OR_WALLET,
    responses=refusals(401, 403, 404, 409),
    opt={LIMIT: "votes"},
)
async def vote_on_dispute(
    context: Context, auth: Auth, data: Annotated[Ballot, _ballot("dispute", "agree")]
) -> shapes.VoteAnswer:
    """Vote on a dispute: agree with it (the proposed outcome is wrong) or disagree."""
    return await _cast(context, auth, VoteKind.DISPUTE, data)


async def _cast(context: AppContext, auth: RequestAuth, kind: VoteKind, data: Ballot) -> shapes.VoteAnswer:
    """Cast a vote and return it with its receipt. The checks come in the order that clients rely on: the fields, the
    market's existence, an earlier vote of the wallet, the signature, the market's state."""
    ref = _market(context, data)
    choice = _choice(kind, data)
    named = _named(data)
    statement, signature = (data.statement, data.signature) if data.message is None else (None, None)
    market_id = await lookup.market_id_of(context, ref)
    try:
        wallet = named if statement is not None else await _voter(context, auth, market_id, kind, named)
    except Unauthenticated as problem:
        raise _unproven(context, problem, market_id, kind, choice, named) from None
    assert wallet is not None
    command = CastVote(
        program=context.program.address,
        market_id=market_id,
        kind=kind,
        vote=choice,
        wallet=wallet,
        received_at=datetime.now(UTC),
        statement=statement,
        signature=signature,
    )
    try:
        accepted = await casting.cast_vote(context.pool, command, await _policy(context))
    except Unauthenticated as problem:
        raise _unproven(context, problem, market_id, kind, choice, wallet) from None
    return _answer(accepted)


def _unproven(
    context: AppContext,
    problem: Unauthenticated,
    market_id: MarketId,
    kind: VoteKind,
    vote: bool,
    wallet: Wallet | None,
) -> MissingStatement:
    """Return the refusal of a vote without a valid proof, with the text that its wallet would sign now."""
    statement = Statement(
        program=context.program.address,
        market_id=market_id,
        kind=kind,
        vote=vote,
        wallet=wallet or Wallet("<the wallet that votes>"),
        issued_ms=ms_of(datetime.now(UTC)),
    )
    return MissingStatement(str(problem), statement.text())


async def _policy(context: AppContext) -> AcceptancePolicy:
    return AcceptancePolicy(
        statement_required=context.settings.votes_require_statement,
        dispute_voting_s=context.settings.dispute_voting_hours * 3600,
        receipt_signer=await _receipt_signer(context),
        admit=context.voters.admit,
        chain_time=context.time_of_chain,
    )


async def _receipt_signer(context: AppContext) -> Keypair | None:
    """Return the gateway's backend key, or None if the program names another backend authority: a receipt that this key
    signs would not hold."""
    key, rules = context.backend, await context.rules.get()
    if key is None or (rules is not None and str(key.pubkey()) != rules.backend_authority):
        return None
    return key


async def _voter(
    context: AppContext, auth: RequestAuth, market_id: MarketId, kind: VoteKind, named: Wallet | None
) -> Wallet:
    """Return the wallet of a vote without a statement, authenticated by the request's proof. Raises Conflict for a
    named or claimed wallet that has voted already, whatever the proof."""
    voter = named or auth.principal.claimed
    if voter is not None:
        await casting.refuse_second_vote(context.pool, market_id, kind, voter)
    return await auth.wallet()


def _market(context: AppContext, data: Ballot) -> MarketRef:
    fields = {"market_id": data.market_id, "proposal_id": data.proposal_id}
    named = {name: lookup.market_in_body(text, name) for name, text in fields.items() if text is not None}
    return lookup.one_market(context, named)


def _choice(kind: VoteKind, data: Ballot) -> bool:
    if data.vote_choice is None:
        return bool(data.vote)
    vote = vote_of_choice(kind, data.vote_choice.value)
    if data.vote is not None and data.vote is not vote:
        raise Invalid("vote_choice", "vote and vote_choice say different things.")
    return vote


def _named(data: Ballot) -> Wallet | None:
    fields = {"wallet": data.wallet, "user": data.user, "user_wallet": data.user_wallet}
    named = {name: lookup.wallet_in_body(text, name) for name, text in fields.items() if text is not None}
    if len(set(named.values())) > 1:
        raise Invalid(list(named)[-1], f"{' and '.join(named)} name different wallets.")
    return next(iter(named.values()), None)


def _answer(accepted: AcceptedVote) -> shapes.VoteAnswer:
    row = accepted.row
    listed = ListedVote(
        id=str(row.id),
        market_id=row.market_id,
        kind=row.kind,
        wallet=row.wallet,
        vote=row.vote,
        channel="statement" if row.proven else "session",
        created_at=row.created_at,
    )
    return shapes.VoteAnswer(
        data=[_vote(listed)],
        count=1,
        metadata=shapes.VoteMetadata(
            message=f"{row.kind.value.capitalize()} vote recorded",
            market_id=row.market_id,
            vote_type=row.kind.value,
            user_wallet=row.wallet,
        ),
        receipt=shapes.Receipt(**msgspec.structs.asdict(accepted.receipt)),
    )


def _vote(row: ListedVote) -> shapes.Vote:
    moment = iso(row.created_at)
    return shapes.Vote(
        id=row.id,
        market_id=row.market_id,
        user_wallet=row.wallet,
        user=row.wallet,
        vote=row.vote,
        vote_choice=choice_name(row.kind, row.vote),
        vote_type=row.kind.value,
        channel=row.channel,
        proven=row.channel != "session",
        late=row.late,
        counted=row.counted,
        created_at=moment,
        voted_at=moment,
    )


@get("/votes/{key:str}", operation_id="GetVotes", responses=refusals(404), opt={CHAIN: True})
async def vote_counts(context: Context, key: MarketKeyInPath) -> shapes.VoteCounts:
    """Return the counts of a market's votes, one vote for each wallet: its vote on chain if there is one, else its vote
    off chain. Counts of a vote that has ended are those of its end; once it is decided on chain, those of the
    decision."""
    market_id = await lookup.market_id_of(context, lookup.market_in_path(key))
    counted = await votes.counts(context.pool, market_id)
    proposal, dispute = counted[VoteKind.PROPOSAL], counted[VoteKind.DISPUTE]
    others = await votes.not_counted(context.pool, market_id)
    return shapes.VoteCounts(
        proposal_votes=shapes.ProposalCount(
            likes=proposal.votes_for,
            dislikes=proposal.votes_against,
            not_counted=others[VoteKind.PROPOSAL],
        ),
        dispute_votes=shapes.DisputeCount(
            agrees=dispute.votes_for,
            disagrees=dispute.votes_against,
            not_counted=others[VoteKind.DISPUTE],
        ),
    )


@get("/votes/{key:str}/proof", operation_id="GetVoteProof", responses=refusals(404), opt={CHAIN: True})
async def vote_proof(
    context: Context,
    key: MarketKeyInPath,
    wallet: WalletInQuery,
    since: Annotated[int | None, between(0, 10**14, "size of the log that you saw before")] = None,
) -> VoteProof:
    """Prove that a wallet's votes are in the market's log and, with `since`, that entries were only added to the log
    since it had that size."""
    market_id = await lookup.market_id_of(context, lookup.market_in_path(key))
    return await vote_log.proof(context.pool, market_id, lookup.wallet_in_path(wallet), since)


@get("/votes/{key:str}/log", operation_id="GetVoteLog", responses=refusals(404), opt={CHAIN: True})
async def log_page(
    context: Context,
    key: MarketKeyInPath,
    start: Annotated[int, between(0, 2**40)] = 0,
    limit: Annotated[int, between(0)] = 100,
) -> LogPage:
    """Return a page of the log of a market's votes, from which anyone can count them again."""
    market_id = await lookup.market_id_of(context, lookup.market_in_path(key))
    return await vote_log.page(context.pool, market_id, start, min(limit, MAX_PAGE))


@get("/markets/{key:str}/votes", operation_id="GetMarketVotes", responses=refusals(404), opt={CHAIN: True})
async def market_votes(
    context: Context,
    key: MarketKeyInPath,
    kind: Annotated[VoteKind, QueryParameter(name="type")] = VoteKind.PROPOSAL,
    limit: Limit = 50,
    offset: Offset = 0,
    cursor: Cursor = None,
) -> shapes.MarketVotes:
    """List a market's votes of one type, newest first, with the counts of that type."""
    market_id = await lookup.market_id_of(context, lookup.market_in_path(key))
    size, skipped = paging.bounded(limit), paging.bounded_offset(offset)
    last = paging.key_of(cursor, VoteKey)
    after = (last.moment, last.wallet) if last else None
    fetched = await vote_lists.of_market(context.pool, market_id, kind, size + 1, skipped, after)
    rows, more = paging.split_page(fetched, size)
    tally = (await votes.counts(context.pool, market_id))[kind]
    return shapes.MarketVotes(
        votes=[_vote(row) for row in rows],
        stats=shapes.VoteStats(
            likes=tally.votes_for,
            dislikes=tally.votes_against,
            total=tally.total,
            approval_rate=percent(tally.votes_for, tally.total),
            unproven=await vote_lists.unproven(context.pool, market_id, kind),
            not_counted=(await votes.not_counted(context.pool, market_id))[kind],
        ),
        market_id=market_id,
        type=kind.value,
        next_cursor=paging.cursor_of(VoteKey(rows[-1].created_at, rows[-1].wallet))
        if more and rows
        else None,
    )


@get("/users/{wallet:str}/votes", operation_id="GetUserVotes", responses=refusals(404), opt={CHAIN: True})
async def user_votes(
    context: Context,
    wallet: WalletInPath,
    kind: Annotated[Literal["all", "proposal", "dispute"], QueryParameter(name="type")] = "all",
    limit: Limit = 50,
    offset: Offset = 0,
) -> shapes.UserVotes:
    """List a wallet's votes, newest first, in one list for each type. `limit` and `offset` apply to each list."""
    who, size, skipped = lookup.wallet_in_path(wallet), paging.bounded(limit), paging.bounded_offset(offset)
    by_kind: dict[VoteKind, list[shapes.Vote]] = {item: [] for item in VoteKind}
    for item in VoteKind:
        if kind in ("all", item.value):
            rows = await vote_lists.of_wallet(context.pool, who, item, size, skipped)
            by_kind[item] = [_vote(row) for row in rows]
    return shapes.UserVotes(
        proposal_votes=by_kind[VoteKind.PROPOSAL],
        dispute_votes=by_kind[VoteKind.DISPUTE],
        total=sum(len(rows) for rows in by_kind.values()),
        wallet=who,
    )


ROUTER = Router(
    "/api",
    route_handlers=[
        vote_on_proposal, vote_on_dispute, vote_counts, vote_proof, log_page, market_votes, user_votes,
    ],
    tags=["votes"],
)  # fmt: skip
