"""compose.yaml with the trial's chain: TLS, sockets, hidden pages of operators, and processes that are killed."""

from __future__ import annotations

import json
import os
import signal
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from compose_stack import HOST, ComposeStack, make_servers
from websockets.asyncio.client import connect

from kit.containers import Podman
from kit.waiting import begin_within_a_window, until, wait_for
from zmart.services.contract import SERVICES
from zmart.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_800)]

TWO_EACH = ("gateway-1", "gateway-2", "websocket-1", "websocket-2")
ALL = (*TWO_EACH, "indexer", "aggregator", "monitor", "snapshots")
OPERATORS = ("/dashboard", "/metrics", "/ready")


@pytest.fixture(scope="module")
def stack(
    podman: Podman, image: str, trial_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ComposeStack]:
    """Run the whole stack of compose.yaml; return it when all services are ready."""
    make_servers(podman)
    with ComposeStack(podman, tmp_path_factory.mktemp("compose"), image, trial_image).running() as stack:
        for name in ALL:
            wait_for(lambda name=name: is_ready(stack, name), within_s=180, every_s=0.5)
        yield stack


@pytest.fixture(scope="module")
def tls(stack: ComposeStack) -> ssl.SSLContext:
    """Return the TLS context of a client that trusts only the certificate authority of Caddy."""
    authority = stack.exec("caddy", "cat", "/data/caddy/pki/authorities/local/root.crt")
    return ssl.create_default_context(cadata=authority)


@pytest.fixture
def client(stack: ComposeStack, tls: ssl.SSLContext) -> Iterator[httpx.Client]:
    """Return an HTTP client on this machine that reaches Caddy by the name HOST."""
    with httpx.Client(
        base_url=f"https://127.0.0.1:{stack.https_port}", verify=tls, headers={"Host": HOST}, trust_env=False
    ) as client:
        yield client


def get(client: httpx.Client, path: str, **options: object) -> httpx.Response:
    return client.get(path, extensions={"sni_hostname": HOST}, **options)


def inside(stack: ComposeStack, service: str, path: str) -> int:
    """Return the HTTP status of a path on a service's own port, requested in its container; 0 without an answer."""
    port = Settings.model_fields[SERVICES[service.removesuffix("-1").removesuffix("-2")]].default
    program = (
        "import urllib.request as r, urllib.error as e\n"
        f"try: print(r.urlopen('http://127.0.0.1:{port}{path}', timeout=5).status)\n"
        "except e.HTTPError as x: print(x.code)\n"
        "except OSError: print(0)"
    )
    try:
        return int(stack.exec(service, "python", "-c", program))
    except AssertionError:
        return 0  # the container does not exist, or restarts


def is_ready(stack: ComposeStack, service: str) -> bool:
    return inside(stack, service, "/ready") == 200


def play(stack: ComposeStack) -> dict[str, object]:
    """Run `zmart demo` through Caddy, which plays three markets from creation to payout; return its report."""
    output = stack.compose("--profile", "demo", "run", "--rm", "-T", "--no-deps", "demo", *DEMO, within_s=400)
    report: dict[str, object] = json.loads(output[output.index("{") :])
    return report


DEMO = ("demo", "--json", "--snapshots-url", "http://snapshots:4005")


def test_every_container_is_healthy_by_its_own_check(stack: ComposeStack):
    for name in (*ALL, "postgres", "redis", "chain", "providers"):
        assert stack.is_healthy(name), stack.logs(name)


def test_a_market_lives_its_whole_life_behind_tls(stack: ComposeStack):
    report = play(stack)
    assert report["ok"] is True, report


def test_the_certificate_is_of_caddy_s_own_authority_and_plain_http_leads_to_it(
    stack: ComposeStack, client: httpx.Client
):
    assert get(client, "/api/markets").status_code == 200
    with (
        httpx.Client(trust_env=False) as stranger,
        pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        get(stranger, f"https://127.0.0.1:{stack.https_port}/")
    plain = httpx.get(f"http://127.0.0.1:{stack.http_port}/x", headers={"Host": HOST}, trust_env=False)
    assert (plain.status_code, plain.headers["location"]) == (308, f"https://{HOST}/x")


@pytest.mark.parametrize("path", OPERATORS)
def test_the_public_sees_no_page_of_operators(stack: ComposeStack, client: httpx.Client, path: str):
    site = f"https://127.0.0.1:{stack.https_port}"
    for form in (
        path,
        f"{path}/",
        f"{path}?x=1",
        path.upper(),
        f"/%{ord(path[1]):02x}{path[2:]}",
        f"/{path}",
        f"/x/..{path}",
    ):
        answer = get(client, f"{site}{form}")
        assert answer.status_code == 404, form
        assert "zmart_" not in answer.text
        upgraded = get(client, f"{site}{form}", headers={"Upgrade": "websocket", "Connection": "Upgrade"})
        assert upgraded.status_code == 404, form
    assert inside(stack, "gateway-1", path) == 200


async def test_a_socket_is_served_through_tls(stack: ComposeStack, tls: ssl.SSLContext):
    async with connect(
        f"wss://{HOST}/ws?channels=markets", host="127.0.0.1", port=stack.https_port, ssl=tls, proxy=None
    ) as socket:
        welcome, markets = [json.loads(await socket.recv()) for _ in range(2)]
    assert (welcome["type"], markets["type"], markets["channel"]) == ("welcome", "subscribed", "markets")


def test_limits_count_the_client_s_address_whatever_it_says_itself(stack: ComposeStack, client: httpx.Client):
    """The limit of nonces a minute counts one client's requests with any X-Forwarded-For, and not another client's."""
    limit = int(stack.settings["RATE_LIMIT_NONCE"])

    def ask(number: int) -> int:
        headers = {"X-Forwarded-For": f"203.0.113.{number}"}
        body = {"wallet": "11111111111111111111111111111111"}
        answer = client.post("/api/auth/nonce", json=body, headers=headers, extensions={"sni_hostname": HOST})
        return answer.status_code

    begin_within_a_window()
    statuses = [ask(number) for number in range(limit + 1)]
    assert statuses[-1] == 429
    assert 429 not in statuses[: limit // 2]
    program = (
        "import httpx\n"
        f"print(httpx.post('https://{HOST}/api/auth/nonce', json={{'wallet': '1' * 32}}, verify=False).status_code)"
    )
    assert int(stack.exec("snapshots", "python", "-c", program)) == 200


def test_clients_go_on_while_a_gateway_and_a_socket_are_killed_and_both_come_back(
    stack: ComposeStack, client: httpx.Client
):
    with ThreadPoolExecutor(1) as thread:
        playing = thread.submit(play, stack)
        count = len(get(client, "/api/markets").json()["markets"])
        wait_for(lambda: len(get(client, "/api/markets").json()["markets"]) > count, within_s=120)
        for name in ("gateway-1", "websocket-1"):
            os.kill(
                int(stack.podman.run("inspect", "-f", "{{.State.Pid}}", stack.container(name))),
                signal.SIGKILL,
            )
        statuses = [get(client, "/api/markets").status_code for _ in range(100)]
        report = playing.result()
    assert statuses == [200] * 100
    assert report["ok"] is True, report
    for name in ("gateway-1", "websocket-1"):
        wait_for(lambda name=name: is_ready(stack, name), within_s=60, every_s=0.5)


async def test_prometheus_scrapes_every_process(stack: ComposeStack):
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{stack.settings['PROMETHEUS_PORT']}"
    ) as prometheus:

        async def up() -> set[str]:
            answer = await prometheus.get("/api/v1/query", params={"query": "up == 1"})
            return {one["metric"]["instance"].partition(":")[0] for one in answer.json()["data"]["result"]}

        await until(up, lambda names: names == set(ALL), within_s=60, every_s=1)


def test_no_process_can_write_its_file_system_or_gain_privileges(stack: ComposeStack):
    for name in (*ALL, "postgres", "redis", "caddy", "prometheus"):
        facts = json.loads(stack.podman.run("inspect", stack.container(name)))[0]
        assert facts["HostConfig"]["ReadonlyRootfs"] is True
        assert set(facts["EffectiveCaps"] or []) <= ({"CAP_NET_BIND_SERVICE"} if name == "caddy" else set())
        assert facts["HostConfig"]["Memory"] > 0


def test_secrets_are_in_no_list_of_processes(stack: ComposeStack):
    for name in (*ALL, "postgres", "redis"):
        shown = stack.podman.run("top", stack.container(name), "args")
        for setting in ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "OPERATOR_TOKEN"):
            assert stack.settings[setting] not in shown
