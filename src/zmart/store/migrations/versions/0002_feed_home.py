"""A restored database begins another epoch of the change feed by itself."""

from zmart.store.migrations import run_down, run_up

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_up(revision)


def downgrade() -> None:
    run_down(revision)
