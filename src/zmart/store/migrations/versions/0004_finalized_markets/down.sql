DROP INDEX markets_finalized;
