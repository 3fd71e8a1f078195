"""Draw different header sets of many clients from a seed, as browsers, wallets and scripts send them."""

from __future__ import annotations

from random import Random

HeaderSet = tuple[tuple[str, str], ...]
"""Names and values in the order in which the client sends them, without Host, which the load generator adds."""

COUNT = 500

_LANGUAGES = (
    "en-US,en;q=0.9", "en-GB,en;q=0.9", "de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7", "fr-FR,fr;q=0.9,en;q=0.8",
    "es-ES,es;q=0.9,en;q=0.8", "pt-BR,pt;q=0.9,en-US;q=0.8,en;q=0.7", "tr-TR,tr;q=0.9,en;q=0.8", "vi-VN,vi;q=0.9",
    "ru-RU,ru;q=0.9,en-US;q=0.8,en;q=0.7", "ja,en-US;q=0.9,en;q=0.8", "ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7",
    "zh-CN,zh;q=0.9,en;q=0.8", "zh-TW,zh;q=0.9,en-US;q=0.8", "id-ID,id;q=0.9,en-US;q=0.8", "pl,en;q=0.7,en-US;q=0.3",
)  # fmt: skip
_ORIGINS = (
    "https://zmart.example", "https://app.zmart.example", "https://staging.zmart.example", "https://odds.example",
    "http://localhost:3000", "http://localhost:5173",
)  # fmt: skip
_DESKTOPS = (
    ("Windows NT 10.0; Win64; x64", "Windows"), ("Macintosh; Intel Mac OS X 10_15_7", "macOS"),
    ("X11; Linux x86_64", "Linux"),
)  # fmt: skip
_PHONES = ("Pixel 8", "Pixel 9 Pro", "SM-S928B", "SM-A556E", "2312DRA50G", "CPH2609", "K")
_WALLETS = (
    "Phantom/ios.25.{}",
    "Phantom/android.25.{}",
    "Solflare/2.{}.0",
    "Backpack/0.10.{}",
    "Glow/1.{}.0",
    "Jupiter/3.{}",
)
_SCRIPTS = (
    "python-requests/2.{}.3", "python-httpx/0.{}.0", "Python/3.12 aiohttp/3.{}.1", "curl/8.{}.0", "axios/1.{}.2",
    "node", "okhttp/4.{}.0", "Go-http-client/1.1", "undici", "PostmanRuntime/7.{}.0", "reqwest/0.12.{}", "Wget/1.{}.4",
)  # fmt: skip


def draw(seed: int, count: int = COUNT) -> list[HeaderSet]:
    """Return `count` different header sets: of ten clients, six are browsers, two wallets' browsers, two scripts."""
    random = Random(f"header sets {seed}")
    kinds = random.choices((_browser, _wallet, _script), (6, 2, 2), k=50 * count)
    sets: dict[HeaderSet, None] = {}
    while len(sets) < count:
        sets[kinds.pop()(random)] = None
    return list(sets)


def _browser(random: Random) -> HeaderSet:
    make = random.choices((_chrome, _chrome_on_a_phone, _firefox, _safari), (5, 3, 1, 2))[0]
    return make(random)


def _chrome(random: Random) -> HeaderSet:
    system, platform = random.choice(_DESKTOPS)
    version = random.randint(126, 142)
    brand = random.choices(("Google Chrome", "Microsoft Edge"), (3, 1))[0]
    agent = _chrome_agent(system, version) + (f" Edg/{version}.0.0.0" if brand == "Microsoft Edge" else "")
    return _with_hints(random, agent, version, brand, platform, mobile=False)


def _chrome_on_a_phone(random: Random) -> HeaderSet:
    version = random.randint(126, 142)
    system = f"Linux; Android {random.randint(11, 16)}; {random.choice(_PHONES)}"
    agent = _chrome_agent(system, version).replace(" Safari", " Mobile Safari")
    return _with_hints(random, agent, version, "Google Chrome", "Android", mobile=True)


def _chrome_agent(system: str, version: int) -> str:
    return (
        f"Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0 Safari/537.36"
    )


def _with_hints(
    random: Random, agent: str, version: int, brand: str, platform: str, *, mobile: bool
) -> HeaderSet:
    """Return the headers of Chromium in its order, with client hints."""
    hints = (
        ("Connection", "keep-alive"),
        ("sec-ch-ua-platform", f'"{platform}"'),
        ("User-Agent", agent),
        ("Accept", "application/json, text/plain, */*"),
        ("sec-ch-ua", f'"Chromium";v="{version}", "{brand}";v="{version}", "Not_A Brand";v="24"'),
        ("sec-ch-ua-mobile", "?1" if mobile else "?0"),
    )
    return hints + _from_a_page(random, "gzip, deflate, br, zstd")


def _firefox(random: Random) -> HeaderSet:
    system, version = random.choice(_DESKTOPS)[0], random.randint(115, 144)
    agent = f"Mozilla/5.0 ({system}; rv:{version}.0) Gecko/20100101 Firefox/{version}.0"
    return (("User-Agent", agent), ("Accept", "*/*"), *_from_a_page(random, "gzip, deflate, br, zstd"))


def _safari(random: Random) -> HeaderSet:
    major, minor = random.randint(16, 18), random.randint(0, 6)
    system = random.choice(
        (f"iPhone; CPU iPhone OS {major}_{minor} like Mac OS X", "Macintosh; Intel Mac OS X 10_15_7")
    )
    phone = " Mobile/15E148" if system.startswith("iPhone") else ""
    engine = f"Mozilla/5.0 ({system}) AppleWebKit/605.1.15 (KHTML, like Gecko)"
    agent = f"{engine} Version/{major}.{minor}{phone} Safari/605.1.15"
    return (
        ("Accept", "application/json"),
        ("User-Agent", agent),
        ("Priority", "u=3, i"),
        *_from_a_page(random, "gzip, deflate, br"),
    )


def _from_a_page(random: Random, encodings: str) -> HeaderSet:
    """Return the headers that a browser adds to requests of a page: origin, languages, sometimes a cookie."""
    origin = random.choice(_ORIGINS)
    site = "same-site" if origin.endswith("zmart.example") else "cross-site"
    page = random.choice(("/", "/markets", "/portfolio", f"/markets/{random.randbytes(32).hex()}"))
    sent = [
        ("Origin", origin),
        ("Sec-Fetch-Site", site),
        ("Sec-Fetch-Mode", "cors"),
        ("Sec-Fetch-Dest", "empty"),
        ("Referer", origin + (page if site == "same-site" else "/")),
        ("Accept-Encoding", encodings),
        ("Accept-Language", random.choice(_LANGUAGES)),
    ]
    if site == "same-site" and random.random() < 0.6:
        analytics = f"_ga=GA1.1.{random.randrange(10**9)}.{random.randrange(1_700_000_000, 1_790_000_000)}"
        theme = random.choice(("", "; theme=dark", "; theme=light; locale=en"))
        sent.append(("Cookie", analytics + theme))
    return tuple(sent)


def _wallet(random: Random) -> HeaderSet:
    """Return the headers of a wallet's built-in browser: a web view's User-Agent with the wallet's name at its end."""
    name = random.choice(_WALLETS).format(random.randint(1, 40))
    if "android" in name or random.random() < 0.5:
        system = f"Linux; Android {random.randint(11, 16)}; {random.choice(_PHONES)}; wv"
        agent = _chrome_agent(system, random.randint(126, 142)).replace(" Chrome", " Version/4.0 Chrome")
    else:
        system = f"iPhone; CPU iPhone OS {random.randint(16, 18)}_{random.randint(0, 6)} like Mac OS X"
        agent = f"Mozilla/5.0 ({system}) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148"
    return (
        ("Accept", "application/json, text/plain, */*"),
        ("User-Agent", f"{agent} {name}"),
        *_from_a_page(random, "gzip, deflate, br"),
    )


def _script(random: Random) -> HeaderSet:
    """Return the headers of a program: few, without an origin, sometimes with an id of the client."""
    agent = random.choice(_SCRIPTS).format(random.randint(1, 40))
    sent = [("User-Agent", agent), ("Accept", random.choice(("*/*", "application/json")))]
    if random.random() < 0.7:
        sent.append(("Accept-Encoding", random.choice(("gzip, deflate", "gzip", "gzip, deflate, br"))))
    if random.random() < 0.3:
        sent.append(("Accept-Language", random.choice(("*", "en"))))
    if random.random() < 0.6:
        sent.append(("X-Client-Id", random.randbytes(8).hex()))
    return tuple(sent)
