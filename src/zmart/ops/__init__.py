"""Operate the services: their host process, workers, probes, logs, traces, alerts, the dashboard, and backups."""
