"""Run a service as several processes on one port: what each tells the others, and what they say as one."""
