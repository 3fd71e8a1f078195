"""Who is calling: sign-in, sessions, signed requests, the operator."""
