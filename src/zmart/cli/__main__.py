"""Run the `zmart` command by `python -m zmart.cli`, as processes do that start other processes."""

from zmart.cli import main

main()
