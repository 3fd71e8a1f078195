"""Host a service: probes, heartbeat, alerts, dashboard, logs and supervision."""
