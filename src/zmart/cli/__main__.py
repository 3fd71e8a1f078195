"""Run the `zmart` command by `python -m zmart.cli`: this is how the local stack and workers are started."""

from zmart.cli import main

main()
