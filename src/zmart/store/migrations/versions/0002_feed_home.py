"""Record where the change feed's epoch began, so that a restored database is recognized and begins another epoch."""

from zmart.store.migrations import run_down, run_up

revision = "0002"
down_revision = "0001"
oldest_code = "0002"


def upgrade() -> None:
    """Run the folder's `*up.sql`."""
    run_up(revision)


def downgrade() -> None:
    """Run the folder's `down.sql`."""
    run_down(revision)
