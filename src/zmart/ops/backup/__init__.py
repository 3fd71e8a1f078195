"""Back up and restore the database. A backup is a dump with a manifest of its contents, by which it can be checked."""
