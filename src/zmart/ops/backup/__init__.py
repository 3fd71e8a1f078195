"""Back up the database and restore it: a dump with a manifest that says what it holds, so that it can be checked."""
