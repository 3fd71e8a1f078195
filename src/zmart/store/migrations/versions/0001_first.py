"""The first schema."""

from zmart.store.migrations import run_down, run_up

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_up(revision)


def downgrade() -> None:
    run_down(revision)
