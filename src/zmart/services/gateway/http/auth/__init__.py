"""Authenticate requests: sign-in, sessions, signed requests, the operator."""
