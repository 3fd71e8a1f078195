"""Connect the demo to what it uses: the API, the WebSocket, the chain's RPC, and twelve wallets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec

from zmart.chain.accounts import MarketAccount
from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.errors import ZmartError
from zmart.local.chain import travel
from zmart.local.demo.api import Api, Json, until
from zmart.local.demo.recorder import SocketRecorder
from zmart.local.demo.report import StepOutcome
from zmart.local.demo.user import DemoUser, LandedTransaction
from zmart.market.types import Address, Lamports
from zmart.settings import Settings

FUNDS_LAMPORTS = Lamports(100 * 10**9)
_RPC_ATTEMPTS = 25
"""How often a call of the RPC is made: for 45 s with the pauses between them, as long as Api waits for a service."""
NAMES = ("Ada", "Bo", "Chen", "Dina", "Eli", "Fay", "Gus", "Hana", "Ivo", "Jun", "Kim", "Lea")


class ServiceUrls(msgspec.Struct, frozen=True, kw_only=True):
    """The URLs of the gateway (`api`), the WebSocket server (`socket`) and the snapshots service."""

    api: str
    socket: str
    snapshots: str

    @classmethod
    def of_stack(cls, settings: Settings) -> ServiceUrls:
        """Return the URLs of the local stack's services on 127.0.0.1."""
        api, socket, snapshots = settings.api_port, settings.ws_port, settings.snapshots_port
        return cls(
            api=f"http://127.0.0.1:{api}",
            socket=f"ws://127.0.0.1:{socket}",
            snapshots=f"http://127.0.0.1:{snapshots}",
        )

    @classmethod
    def of_deployment(cls, settings: Settings, snapshots: str) -> ServiceUrls:
        """Return PUBLIC_API_URL, PUBLIC_WS_URL and the given URL of the snapshots service, which no setting holds.

        Raises SettingError if one of the settings is missing.
        """
        api, socket = settings.require("public_api_url"), settings.require("public_ws_url")
        return cls(api=api, socket=socket, snapshots=snapshots)


def patient_rpc(settings: Settings) -> Rpc:
    """Return a client of the RPC that waits while the chain's process is started again."""
    return Rpc(settings.rpc_urls, settings.rpc_timeout_s, _RPC_ATTEMPTS)


class MarketPlay:
    """A market of the play: label and creator, and after its creation also id, address, snapshots (CIDs) and trades."""

    def __init__(self, label: str, creator: DemoUser) -> None:
        self.label = label
        self.creator = creator
        self.id = ""
        self.address = ""
        self.snapshots: list[str] = []
        self.trades: dict[str, int] = {}
        """The quoted lamports (cost of a purchase, proceeds of a sale) of each trade, by its signature."""


class DemoWorld:
    """The connections, wallets and markets of the play; open it with `DemoWorld.open`."""

    def __init__(
        self,
        settings: Settings,
        where: ServiceUrls,
        api: Api,
        snapshots: Api,
        rpc: Rpc,
        recorder: SocketRecorder,
    ) -> None:
        self.settings = settings
        self.where = where
        self.api = api
        self.snapshots = snapshots
        self.rpc = rpc
        self.socket = recorder
        self.program = Program.from_settings(settings)
        self.users = [DemoUser(name, api) for name in NAMES]
        self.operator_token = settings.require("operator_token")
        self.undisputed = MarketPlay("undisputed", self.users[0])
        self.overturned = MarketPlay("overturned", self.users[1])
        self.cancelled = MarketPlay("cancelled", self.users[2])

    @property
    def markets(self) -> tuple[MarketPlay, ...]:
        """Return the undisputed, the overturned and the cancelled market."""
        return (self.undisputed, self.overturned, self.cancelled)

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings, where: ServiceUrls | None = None) -> AsyncIterator[DemoWorld]:
        """Connect to the services at `where`, by default those of the local stack. Raises ZmartError."""
        where = where or ServiceUrls.of_stack(settings)
        api = Api(where.api)
        snapshots = Api(where.snapshots)
        rpc = patient_rpc(settings)
        try:
            async with SocketRecorder.listening(where.socket, ["markets", "activity"]) as recorder:
                yield cls(settings, where, api, snapshots, rpc, recorder)
        finally:
            await rpc.aclose()
            await snapshots.close()
            await api.close()

    async def fund(self) -> None:
        """Request FUNDS_LAMPORTS for every wallet from the local faucet, and wait until each has them."""
        await asyncio.gather(
            *(self.rpc.request_airdrop(Address(user.wallet), FUNDS_LAMPORTS) for user in self.users)
        )
        await asyncio.gather(*(self._funded(user) for user in self.users))

    async def _funded(self, user: DemoUser) -> None:
        await until(
            lambda: self.rpc.get_balance(Address(user.wallet)),
            lambda lamports: lamports == FUNDS_LAMPORTS,
            f"the funds of {user.name}",
        )

    async def chain_time(self) -> datetime:
        """Return the chain's time, which earlier plays may have advanced by days."""
        return datetime.fromtimestamp((await self.rpc.get_clock()).unix_timestamp, UTC)

    async def travel(self, seconds: int) -> datetime:
        """Advance the local chain's clock by `seconds`, and return the new chain time."""
        clock = await travel.advance(self.rpc, seconds)
        return datetime.fromtimestamp(clock.unix_timestamp, UTC)

    async def market(self, play: MarketPlay) -> Json:
        """Return the API's response about the market, a decoded JSON object."""
        row: Json = await self.api.get(f"/api/markets/{play.id}")
        return row

    async def account(self, play: MarketPlay) -> tuple[MarketAccount, int]:
        """Return the market's account on chain, and the account's balance in lamports.

        Raises ZmartError if the account does not exist.
        """
        info = await self.rpc.get_account(Address(play.address))
        if info is None:
            raise ZmartError(f"{play.address} does not exist on chain")
        return self.program.accounts.market(info), info.lamports

    async def reached(
        self, play: MarketPlay, state: str, landed: LandedTransaction | None = None
    ) -> StepOutcome:
        """Wait until the API and the WebSocket report that the market is in `state`.

        `landed` is the transaction that changed the state, if the caller knows it. Raises ZmartError after 25 s without
        the API's report, or 20 s without the WebSocket's.
        """
        row = await until(lambda: self.market(play), lambda m: m["state"] == state, f"{state} in the index")
        message = await self.socket.wait_for(
            lambda m: (
                (m.type == "market_state" and m.market_id == play.id and m.data.get("new_state") == state)
                or any(row.get("id") == play.id and row.get("state") == state for row in m.rows_after_gap)
            ),
            f"{play.label} becoming {state}",
        )
        return StepOutcome(
            transaction=landed.signature if landed else "",
            slot=landed.slot if landed else int(row.get("updated_slot") or 0) or None,
            index=state,
            socket=f"#{message.offset} {message.data.get('old_state') or 'new'} → {state}",
        )
