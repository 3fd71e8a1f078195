ALTER TABLE feed_head DROP COLUMN home;
DROP FUNCTION feed_home;
