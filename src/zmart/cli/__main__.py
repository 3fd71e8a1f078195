"""`python -m zmart.cli`: the `zmart` command without its script, for processes that start others."""

from zmart.cli import main

main()
