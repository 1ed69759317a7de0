-- The credentials for which the subscription sends a token: the id of a row of `oauth2_tokens`, which need not be there; NULL: none.
ALTER TABLE subscriptions ADD COLUMN oauth2_token_id TEXT;

CREATE INDEX subscriptions_by_oauth2_token ON subscriptions (oauth2_token_id)
WHERE oauth2_token_id IS NOT NULL;

-- Tokens that all workers share, by the credentials for which they were obtained.
CREATE TABLE oauth2_tokens (
    -- A digest of the credentials by a key.
    id TEXT NOT NULL PRIMARY KEY,
    -- Encrypted; NULL: there was none yet.
    token BLOB,
    -- The number of tokens so far.
    generation INTEGER NOT NULL,
    -- All instants are of the clock of the database.
    obtained_ms INTEGER,
    expires_ms INTEGER,
    -- A worker asks for a token until then, at the latest.
    claimed_until_ms INTEGER NOT NULL,
    -- No worker asks before.
    retry_at_ms INTEGER NOT NULL,
    -- Requests that have failed since the last token.
    failures INTEGER NOT NULL,
    failing_since_ms INTEGER,
    -- The reason of the last failure, encrypted.
    error BLOB
) STRICT;

-- A token goes with its last subscription.
CREATE TRIGGER subscription_left_oauth2_token AFTER UPDATE OF oauth2_token_id ON subscriptions
WHEN OLD.oauth2_token_id IS NOT NULL AND OLD.oauth2_token_id IS NOT NEW.oauth2_token_id BEGIN
    DELETE FROM oauth2_tokens WHERE id = OLD.oauth2_token_id
    AND NOT EXISTS (SELECT 1 FROM subscriptions WHERE oauth2_token_id = OLD.oauth2_token_id);
END;

CREATE TRIGGER subscription_removed_with_oauth2_token AFTER DELETE ON subscriptions
WHEN OLD.oauth2_token_id IS NOT NULL BEGIN
    DELETE FROM oauth2_tokens WHERE id = OLD.oauth2_token_id
    AND NOT EXISTS (SELECT 1 FROM subscriptions WHERE oauth2_token_id = OLD.oauth2_token_id);
END;
