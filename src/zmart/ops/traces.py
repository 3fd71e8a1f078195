"""Export traces if OpenTelemetry's standard variables request it. Otherwise no module of OpenTelemetry is imported."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from zmart.errors import SettingError
from zmart.setting_values import split_url
from zmart.settings import Settings

if TYPE_CHECKING:
    from zmart.ops.tracing.export import TraceExport

INSTALL = "pip install 'zmart[otel]'"
_IMPORTED = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")
_PREFIX = "OTEL_"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
# Both this sampler and OpenTelemetry's default record all traces. With this one, OTEL_TRACES_SAMPLER_ARG alone is
# enough to record fewer.
_DEFAULTS = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "1.0"}


def start(service: str) -> TraceExport | None:
    """Start to export the traces of this process; None if no variable requests it. End the export with its `stop()`.

    Raises SettingError for a value that is not supported, or if the extra `zmart[otel]` is not installed.
    """
    read_env_file(os.environ)
    if not is_enabled(os.environ):
        return None
    require_extra()
    from zmart.ops.tracing.export import TraceExport

    if "OTEL_TRACES_SAMPLER" not in os.environ:
        os.environ.update({**_DEFAULTS, **os.environ})
    return TraceExport.start(service)


def check() -> None:
    """Raise SettingError if `start` would raise it, without a change of the environment."""
    variables = dict(os.environ)
    read_env_file(variables)
    if is_enabled(variables):
        require_extra()


def is_enabled(variables: MutableMapping[str, str]) -> bool:
    """Return whether the variables request the export of traces: by an endpoint, or by OTEL_TRACES_EXPORTER=otlp.

    Raises SettingError for an exporter, endpoint or protocol that zmart does not support.
    """
    if variables.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = variables.get("OTEL_TRACES_EXPORTER", "").strip()
    if exporter == "none":
        return False
    if exporter not in ("", "otlp"):
        raise SettingError("OTEL_TRACES_EXPORTER is wrong: traces are exported by otlp, or none.")
    endpoints = [name for name in _ENDPOINTS if variables.get(name)]
    if not endpoints and not exporter:
        return False
    for name in endpoints:
        _check_url(name, variables[name])
    protocol = next(filter(None, map(variables.get, _PROTOCOLS)), "http/protobuf")
    if protocol != "http/protobuf":
        raise SettingError("OTEL_EXPORTER_OTLP_PROTOCOL is wrong: traces are exported by http/protobuf.")
    return True


def read_env_file(variables: MutableMapping[str, str]) -> None:
    """Add the OTEL_ variables of the file `.env` to `variables`, and remove the empty ones.

    A variable that is already set, and not empty, keeps its value.
    """
    for name in [name for name, value in variables.items() if name.startswith(_PREFIX) and not value.strip()]:
        del variables[name]
    file = Settings.model_config.get("env_file")
    if not isinstance(file, (str, Path)) or not Path(file).is_file():
        return
    from dotenv import dotenv_values

    for name, value in dotenv_values(file, encoding="utf-8-sig").items():
        if name.startswith(_PREFIX) and value and value.strip():
            variables.setdefault(name, value)


def is_installed() -> bool:
    """Return whether the extra `zmart[otel]` is installed."""
    try:
        return all(find_spec(name) is not None for name in _IMPORTED)
    except ModuleNotFoundError:  # a parent package is missing
        return False


def require_extra() -> None:
    """Raise SettingError, which says what to install, if the extra `zmart[otel]` is missing."""
    if not is_installed():
        raise SettingError(
            f"OTEL_EXPORTER_OTLP_ENDPOINT is set, but the export of traces is not part of this installation: run "
            f"`{INSTALL}` to add it, or unset the variable."
        )


def _check_url(name: str, value: str) -> None:
    try:
        split_url(value, ("http", "https"))
    except ValueError as problem:
        raise SettingError(f"{name} is wrong: {problem}.") from None
