"""PostgreSQL: pool, migrations, and one module of SQL for each kind of row. SQL is nowhere else."""
