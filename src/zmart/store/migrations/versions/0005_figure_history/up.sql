-- What the dashboard draws: figures of each process by the minute for two hours, and by the quarter of an hour for a day.
-- A process has 220 rows at most; the heartbeats write and delete them.
CREATE TABLE figure_history (
    step_s   integer NOT NULL CHECK (step_s IN (60, 900)),
    began_at timestamptz NOT NULL,
    service  text NOT NULL,
    instance text NOT NULL,
    seconds  real NOT NULL CHECK (seconds > 0),   -- how much of the step the counts are about
    counts   jsonb NOT NULL,                      -- how much each counter grew meanwhile
    levels   jsonb NOT NULL,                      -- what each gauge showed last
    PRIMARY KEY (step_s, began_at, service, instance)
) WITH (fillfactor = 50);                         -- a row is written every 5 s: room for its next version beside it
ALTER TABLE figure_history ENABLE ROW LEVEL SECURITY;
