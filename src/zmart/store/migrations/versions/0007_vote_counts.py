"""Count the votes in the message of one that changes or is taken back."""

from zmart.store.migrations import run_down, run_up

revision = "0007"
down_revision = "0006"
oldest_code = "0006"


def upgrade() -> None:
    """Run the folder's `*up.sql`."""
    run_up(revision)


def downgrade() -> None:
    """Run the folder's `down.sql`."""
    run_down(revision)
