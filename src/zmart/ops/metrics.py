"""Define the Prometheus metrics that every process has."""

from __future__ import annotations

import math

from prometheus_client import Counter, Gauge

build_info = Gauge("zmart_build_info", "1, with the release that runs as labels", ["version", "commit"])
ready = Gauge("zmart_ready", "1 if the service is ready, 0 if it is not")
ready.set(math.nan)  # until it is known
readiness_timeouts = Counter("zmart_readiness_timeouts", "Times that the service did not say if it is ready")
job_failures = Counter("zmart_background_failures", "Failures of the jobs beside the service", ["work"])
disk_free_bytes = Gauge("zmart_disk_free_bytes", "What the disk of ZMART_HOME can still take")
