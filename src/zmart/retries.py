"""Retry calls to servers with stamina, without the log line that stamina writes for each retry."""

from __future__ import annotations

import stamina
from stamina.instrumentation import set_on_retry_hooks

# An unavailable server would cost hundreds of lines a minute. Who retries logs the outage once (outage_lines.py).
set_on_retry_hooks(())

retry_context = stamina.retry_context
