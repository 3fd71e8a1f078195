"""`zmart doctor` says what is wrong with an RPC before any user relies on it."""

from __future__ import annotations

import asyncio

from kit.rpc_proxy import Call, Fault, Proxy, Say, honest
from kit.servers import LocalChain
from zmart.chain.slot_bounds import PUBLIC_CLUSTERS
from zmart.local import doctor
from zmart.settings import Settings

_DEVNET = next(genesis for genesis, name in PUBLIC_CLUSTERS.items() if name == "devnet")


def of_devnet_and_ignores_the_least_slot(call: Call) -> Fault | None:
    answers = {"getSignaturesForAddress": Say([]), "getGenesisHash": Say(_DEVNET)}
    return answers.get(call.method)


async def test_the_doctor_names_an_rpc_whose_lists_complete_nothing(local_chain: LocalChain) -> None:
    async with Proxy.before(local_chain.rpc_url, honest) as proxy:
        settings = Settings(
            _env_file=None,
            solana_rpc_url=proxy.url,
            backend_keypair_path=local_chain.keys.path("backend"),
            admin_keypair_path=local_chain.keys.path("admin"),
        )
        assert (await asyncio.to_thread(doctor._chain, settings)).ok
        proxy.script = of_devnet_and_ignores_the_least_slot
        finding = await asyncio.to_thread(doctor._chain, settings)
        assert not finding.ok
        assert "ignores minContextSlot" in finding.sentence
        assert "Name an RPC that honours it" in finding.sentence
