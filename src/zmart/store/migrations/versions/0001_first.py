"""Create the first schema."""

from zmart.store.migrations import run_down, run_up

revision = "0001"
down_revision = None
oldest_code = "0001"


def upgrade() -> None:
    """Run the folder's `*up.sql`."""
    run_up(revision)


def downgrade() -> None:
    """Run the folder's `down.sql`."""
    run_down(revision)
