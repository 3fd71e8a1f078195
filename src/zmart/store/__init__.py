"""PostgreSQL: pool, migrations, and one module of SQL for each kind of row. No other package contains SQL."""
