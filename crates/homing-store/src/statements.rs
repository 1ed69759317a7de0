//! Statements that both databases understand.

/// The columns of a subscription by name: a database whose table gets another one goes on answering
/// a statement that was prepared before.
macro_rules! subscriptions {
    ($condition:literal) => {
        concat!(
            "SELECT id, url, topics, filters, filter_connector, auth_token, secrets, headers, ",
            "authentication, client_certificate, schedule, rate_limit, description, workfront, ",
            "version_updated_ms, certificate_expires_ms, deadline_ms, max_concurrency, format, ",
            "verification, owner, labels, template, created_ms, updated_ms ",
            "FROM subscriptions WHERE ",
            $condition
        )
    };
}

/// Binds as [`bind`](super::row::bind) does, then `created_ms`.
pub(super) const INSERT: &str = "\
    INSERT INTO subscriptions (id, fingerprint, url, topics, filters, filter_connector, \
    auth_token, secrets, headers, schedule, rate_limit, description, workfront, updated_ms, \
    version_updated_ms, authentication, client_certificate, certificate_expires_ms, deadline_ms, \
    max_concurrency, oauth2_token_id, format, verification, owner, labels, template, created_ms) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, \
    $20, $21, $22, $23, $24, $25, $26, $27) \
    ON CONFLICT (fingerprint) DO NOTHING";

/// Binds as [`bind`](super::row::bind) does.
pub(super) const UPDATE: &str = "\
    UPDATE subscriptions SET fingerprint = $2, url = $3, topics = $4, filters = $5, \
    filter_connector = $6, auth_token = $7, secrets = $8, headers = $9, schedule = $10, \
    rate_limit = $11, description = $12, workfront = $13, updated_ms = $14, \
    version_updated_ms = $15, authentication = $16, client_certificate = $17, \
    certificate_expires_ms = $18, deadline_ms = $19, max_concurrency = $20, \
    oauth2_token_id = $21, format = $22, verification = $23, owner = $24, labels = $25, \
    template = $26 WHERE id = $1";

pub(super) const REMOVE: &str = "DELETE FROM subscriptions WHERE id = $1";
pub(super) const BY_FINGERPRINT: &str = "SELECT id FROM subscriptions WHERE fingerprint = $1";
pub(super) const UPDATED: &str = "SELECT updated_ms FROM subscriptions WHERE id = $1";
pub(super) const BY_ID: &str = subscriptions!("id = $1");
/// The empty text sorts before every id.
pub(super) const BEHIND: &str = subscriptions!("id > $1 ORDER BY id LIMIT $2");
/// To be continued with a condition.
pub(super) const SUBSCRIPTIONS: &str = subscriptions!("");
pub(super) const TOTALS: &str = "SELECT number, filter_bytes FROM subscription_totals";
/// Counts the totals that have drifted: 0 or 1.
pub(super) const DRIFTED: &str = "\
    SELECT count(*) FROM subscription_totals, \
    (SELECT count(*) AS number, coalesce(sum(octet_length(filters)), 0) AS filter_bytes \
    FROM subscriptions) AS counted \
    WHERE subscription_totals.number <> counted.number \
    OR subscription_totals.filter_bytes <> counted.filter_bytes";
/// Corrects the totals.
pub(super) const RECOUNT: &str = "\
    UPDATE subscription_totals \
    SET number = counted.number, filter_bytes = counted.filter_bytes \
    FROM (SELECT count(*) AS number, coalesce(sum(octet_length(filters)), 0) AS filter_bytes \
    FROM subscriptions) AS counted";
pub(super) const CENSUS: &str = "\
    SELECT (SELECT version FROM versions WHERE name = 'subscriptions') AS version, \
    count(*) AS number, CAST(coalesce(sum(updated_ms), 0) AS bigint) AS updated_sum \
    FROM subscriptions";
pub(super) const CHANGED: &str =
    subscriptions!("id IN (SELECT id FROM subscription_changes WHERE version > $1)");
pub(super) const REMOVED: &str =
    "SELECT id FROM subscription_changes WHERE version > $1 AND removed = TRUE";
pub(super) const IN_WORKFRONTS_FORM: &str =
    subscriptions!("workfront IS NOT NULL ORDER BY id LIMIT $1 OFFSET $2");
/// The empty text sorts before every id.
pub(super) const IN_WORKFRONTS_FORM_BEHIND: &str =
    subscriptions!("workfront IS NOT NULL AND id > $1 ORDER BY id LIMIT $2");
pub(super) const COUNT_IN_WORKFRONTS_FORM: &str =
    "SELECT count(*) FROM subscriptions WHERE workfront IS NOT NULL";
pub(super) const VERSION: &str = "SELECT version FROM versions WHERE name = 'subscriptions'";

/// The columns of a circuit, in a literal: the statements about it are constants.
macro_rules! circuit_columns {
    () => {
        "url, state, probe_at_ms, since_ms, reason, window_attempts, window_failures, \
         failures_in_a_row, successes, failures, first_attempt_ms, last_success_ms, last_outcome, \
         last_outcome_ms, created_ms"
    };
}
#[cfg(feature = "postgres")]
pub(super) use circuit_columns;

pub(super) const CIRCUIT: &str =
    concat!("SELECT ", circuit_columns!(), " FROM circuits WHERE url = $1");
pub(super) const CIRCUIT_COLUMNS: &str = circuit_columns!();
pub(super) const CIRCUITS_VERSION: &str = "SELECT version FROM versions WHERE name = 'circuits'";

pub(super) const USED_KEYS: &str = "SELECT id FROM encryption_keys ORDER BY first_used_ms, id";
pub(super) const NOTE_KEY: &str = "\
    INSERT INTO encryption_keys (id, first_used_ms) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";
pub(super) const FORGET_OTHER_KEYS: &str = "\
    DELETE FROM encryption_keys WHERE id <> $1 \
    AND NOT EXISTS (SELECT 1 FROM payloads WHERE key_id = encryption_keys.id) \
    AND NOT EXISTS (SELECT 1 FROM payload_bodies WHERE key_id = encryption_keys.id) \
    AND NOT EXISTS (SELECT 1 FROM error_groups WHERE key_id = encryption_keys.id) \
    AND NOT EXISTS (SELECT 1 FROM parked_messages WHERE key_id = encryption_keys.id)";
pub(super) const ENCRYPTED_BEHIND: &str = "\
    SELECT id, auth_token, secrets, headers, authentication, client_certificate \
    FROM subscriptions WHERE id > $1 ORDER BY id LIMIT $2";
pub(super) const RENEW: &str = "\
    UPDATE subscriptions SET auth_token = $2, secrets = $3, headers = $4, authentication = $5, \
    client_certificate = $6, oauth2_token_id = $7 WHERE id = $1";
/// Changes nothing where another one has it: an earlier homing did not compare tokens.
pub(super) const RENEW_FINGERPRINT: &str = "\
    UPDATE subscriptions SET fingerprint = $2 WHERE id = $1 AND fingerprint <> $2 \
    AND NOT EXISTS (SELECT 1 FROM subscriptions WHERE fingerprint = $2)";
/// Those that expire before `$1`, the next ones first.
pub(super) const EXPIRING_CERTIFICATES: &str = "\
    SELECT id, url, certificate_expires_ms FROM subscriptions \
    WHERE certificate_expires_ms < $1 ORDER BY certificate_expires_ms, id LIMIT $2";

pub(super) const INSERT_TOKEN: &str = "\
    INSERT INTO api_tokens (name, digest, scope, created_ms) VALUES ($1, $2, $3, $4) \
    ON CONFLICT (name) DO NOTHING";
pub(super) const REMOVE_TOKEN: &str = "DELETE FROM api_tokens WHERE name = $1";
pub(super) const TOKENS: &str = "\
    SELECT name, digest, scope, created_ms FROM api_tokens ORDER BY name";

pub(super) const SOURCE: &str =
    "SELECT standing, since_ms, reason, fingerprint, reset FROM sources WHERE name = $1";
pub(super) const SET_SOURCE: &str = "\
    INSERT INTO sources (name, standing, since_ms, reason, fingerprint) \
    VALUES ($1, $2, $3, $4, $5) \
    ON CONFLICT (name) DO UPDATE SET standing = excluded.standing, since_ms = excluded.since_ms, \
    reason = excluded.reason, fingerprint = excluded.fingerprint";
pub(super) const SET_RESET: &str = "\
    INSERT INTO sources (name, standing, since_ms, reset) VALUES ($1, 'running', $2, $3) \
    ON CONFLICT (name) DO UPDATE SET reset = excluded.reset";
pub(super) const RESET: &str = "SELECT reset FROM sources WHERE name = $1";
pub(super) const FORGET_RESET: &str = "UPDATE sources SET reset = NULL WHERE name = $1";
pub(super) const REPORT_SLOT: &str = "\
    INSERT INTO source_slots (source, slot, holder, phase, since_ms, not_before_ms, detail, \
    records, seen_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
    ON CONFLICT (source, slot) DO UPDATE SET holder = excluded.holder, phase = excluded.phase, \
    since_ms = excluded.since_ms, not_before_ms = excluded.not_before_ms, \
    detail = excluded.detail, records = excluded.records, seen_ms = excluded.seen_ms";
pub(super) const SLOTS: &str = "\
    SELECT slot, holder, phase, since_ms, not_before_ms, detail, records, seen_ms \
    FROM source_slots WHERE source = $1 ORDER BY slot";

pub(super) const REPORT_WORKER: &str = "\
    INSERT INTO workers (id, host, pid, version, started_ms, seen_ms, in_flight, requests, \
    runs_replays, problem, reads_groups) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1) \
    ON CONFLICT (id) DO UPDATE SET seen_ms = excluded.seen_ms, in_flight = excluded.in_flight, \
    requests = excluded.requests, runs_replays = excluded.runs_replays, \
    problem = excluded.problem";
pub(super) const REMOVE_WORKER: &str = "DELETE FROM workers WHERE id = $1";
pub(super) const WORKERS: &str = "\
    SELECT id, host, pid, version, started_ms, seen_ms, in_flight, \
    CAST(runs_replays AS bigint) AS runs_replays, problem FROM workers \
    ORDER BY started_ms, id";
pub(super) const WITHOUT_GROUPS: &str =
    "SELECT CAST(count(*) AS bigint) FROM workers WHERE seen_ms >= $1 AND reads_groups = 0";
pub(super) const REQUESTS: &str = "SELECT requests FROM workers WHERE seen_ms >= $1";
pub(super) const REPORT_MINUTE: &str = "\
    INSERT INTO worker_minutes (start_ms, worker, events, accepted, refused, timed_out, \
    unreachable, held, parked) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
    ON CONFLICT (start_ms, worker) DO UPDATE SET events = excluded.events, \
    accepted = excluded.accepted, refused = excluded.refused, timed_out = excluded.timed_out, \
    unreachable = excluded.unreachable, held = excluded.held, parked = excluded.parked";
pub(super) const MINUTES: &str = "\
    SELECT start_ms, CAST(sum(events) AS bigint) AS events, \
    CAST(sum(accepted) AS bigint) AS accepted, CAST(sum(refused) AS bigint) AS refused, \
    CAST(sum(timed_out) AS bigint) AS timed_out, \
    CAST(sum(unreachable) AS bigint) AS unreachable, CAST(sum(held) AS bigint) AS held, \
    CAST(sum(parked) AS bigint) AS parked \
    FROM worker_minutes WHERE start_ms >= $1 GROUP BY start_ms ORDER BY start_ms";
/// A report about an earlier version of the subscription never replaces one about a later version.
pub(super) const REPORT_COSTLY: &str = "\
    INSERT INTO costly_subscriptions (id, updated_ms, seen_ms) VALUES ($1, $2, $3) \
    ON CONFLICT (id) DO UPDATE SET updated_ms = excluded.updated_ms, seen_ms = excluded.seen_ms \
    WHERE costly_subscriptions.updated_ms <= excluded.updated_ms";
pub(super) const COSTLY: &str = "\
    SELECT costly.id, costly.updated_ms, costly.seen_ms FROM costly_subscriptions AS costly \
    JOIN subscriptions AS present \
    ON present.id = costly.id AND present.updated_ms = costly.updated_ms \
    WHERE costly.seen_ms >= $1 ORDER BY costly.id";
pub(super) const ADD_DUE: &str = "\
    INSERT INTO dues (wait_ms, slice, due_ms) VALUES ($1, $2, $3) \
    ON CONFLICT (wait_ms, slice) DO NOTHING";
pub(super) const DUES: &str = "\
    SELECT wait_ms, min(due_ms) AS due_ms FROM dues WHERE due_ms >= $1 \
    GROUP BY wait_ms ORDER BY wait_ms";
pub(super) const UNSETTLED_COUNTS: &str = "\
    SELECT state, count(*) AS urls FROM circuits WHERE state IN ('open', 'frozen') GROUP BY state";
/// The empty text sorts before every id.
pub(super) const AT_URL: &str = subscriptions!("url = $3 AND id > $1 ORDER BY id LIMIT $2");

pub(super) const HELD_SLOTS: &str =
    "SELECT slot, url, since_ms FROM held_slots WHERE prefix = $1 ORDER BY slot";
/// Changes nothing where the slot is not as it was read.
pub(super) const TAKE_SLOT: &str = "\
    INSERT INTO held_slots (prefix, slot, url, since_ms) VALUES ($1, $2, $3, $4) \
    ON CONFLICT (prefix, slot) DO UPDATE SET url = excluded.url, since_ms = excluded.since_ms \
    WHERE held_slots.url IS NULL AND held_slots.since_ms = $5";
pub(super) const GIVE_BACK_SLOT: &str = "\
    UPDATE held_slots SET url = NULL, since_ms = $5 \
    WHERE prefix = $1 AND slot = $2 AND url = $3 AND since_ms = $4";

pub(super) const QUEUES: &str = "SELECT name FROM queues ORDER BY name";
pub(super) const FORGET_QUEUE: &str = "DELETE FROM queues WHERE name = $1";
