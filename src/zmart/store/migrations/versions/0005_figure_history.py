"""Create figure_history, which keeps the metrics of the last hour and day for the dashboard."""

from zmart.store.migrations import run_down, run_up

revision = "0005"
down_revision = "0004"
oldest_code = "0003"


def upgrade() -> None:
    """Run the folder's `*up.sql`."""
    run_up(revision)


def downgrade() -> None:
    """Run the folder's `down.sql`."""
    run_down(revision)
