"""Index finalized markets by the time of their finalization."""

from zmart.store.migrations import run_down, run_up

revision = "0004"
down_revision = "0003"
oldest_code = "0003"


def upgrade() -> None:
    """Run the folder's `*up.sql`."""
    run_up(revision)


def downgrade() -> None:
    """Run the folder's `down.sql`."""
    run_down(revision)
