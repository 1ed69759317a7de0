-- The credentials for which the subscription sends a token: the id of a row of `oauth2_tokens`, which need not be there; NULL: none.
ALTER TABLE homing.subscriptions ADD COLUMN oauth2_token_id text COLLATE "C";

CREATE INDEX subscriptions_by_oauth2_token ON homing.subscriptions (oauth2_token_id)
WHERE oauth2_token_id IS NOT NULL;

-- Tokens that all workers share, by the credentials for which they were obtained.
CREATE TABLE homing.oauth2_tokens (
    -- A digest of the credentials by a key.
    id text COLLATE "C" NOT NULL PRIMARY KEY,
    -- Encrypted; NULL: there was none yet.
    token bytea,
    -- The number of tokens so far.
    generation bigint NOT NULL,
    -- All instants are of the clock of the database.
    obtained_ms bigint,
    expires_ms bigint,
    -- A worker asks for a token until then, at the latest.
    claimed_until_ms bigint NOT NULL,
    -- No worker asks before.
    retry_at_ms bigint NOT NULL,
    -- Requests that have failed since the last token.
    failures bigint NOT NULL,
    failing_since_ms bigint,
    -- The reason of the last failure, encrypted.
    error bytea
);

-- A token goes with its last subscription.
CREATE FUNCTION homing.forget_oauth2_token() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM homing.oauth2_tokens WHERE id = OLD.oauth2_token_id
    AND NOT EXISTS (SELECT 1 FROM homing.subscriptions WHERE oauth2_token_id = OLD.oauth2_token_id);
    RETURN NULL;
END
$$;

CREATE TRIGGER subscription_left_oauth2_token AFTER UPDATE ON homing.subscriptions
FOR EACH ROW WHEN
    (OLD.oauth2_token_id IS NOT NULL AND OLD.oauth2_token_id IS DISTINCT FROM NEW.oauth2_token_id)
EXECUTE FUNCTION homing.forget_oauth2_token();

CREATE TRIGGER subscription_removed_with_oauth2_token AFTER DELETE ON homing.subscriptions
FOR EACH ROW WHEN (OLD.oauth2_token_id IS NOT NULL)
EXECUTE FUNCTION homing.forget_oauth2_token();
