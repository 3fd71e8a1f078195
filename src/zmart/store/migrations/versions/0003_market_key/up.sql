-- A regular expression with the repetition {64} takes 9.5 us a value, and four columns of an event hold one. The same rule
-- as a length and a search for anything that is no digit takes 0.4 us. Existing rows are checked: seconds a million rows.
ALTER DOMAIN market_key DROP CONSTRAINT market_key_check;
ALTER DOMAIN market_key ADD CONSTRAINT market_key_check CHECK (octet_length(VALUE) = 64 AND VALUE !~ '[^0-9a-f]');
