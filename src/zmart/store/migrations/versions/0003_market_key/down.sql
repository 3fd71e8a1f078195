ALTER DOMAIN market_key DROP CONSTRAINT market_key_check;
ALTER DOMAIN market_key ADD CONSTRAINT market_key_check CHECK (VALUE ~ '^[0-9a-f]{64}$');
