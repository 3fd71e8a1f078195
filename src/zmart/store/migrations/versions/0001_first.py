"""The first schema."""

from zmart.store.migrations import run_script

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_script("0001_first.up.sql")


def downgrade() -> None:
    run_script("0001_first.down.sql")
