"""Hold the program's IDL and its compiled bytes."""
