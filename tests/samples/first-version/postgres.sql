SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

CREATE SCHEMA homing;

CREATE FUNCTION homing.raise_version() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    UPDATE homing.versions SET version = version + 1 WHERE name = TG_ARGV[0];
    RETURN NULL;
END
$$;

SET default_tablespace = '';

SET default_table_access_method = heap;

CREATE TABLE homing._sqlx_migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);

CREATE TABLE homing.api_tokens (
    name text NOT NULL COLLATE pg_catalog."C",
    digest text NOT NULL,
    scope text NOT NULL,
    created_ms bigint NOT NULL,
    CONSTRAINT api_tokens_scope_check CHECK ((scope = ANY (ARRAY['read'::text, 'write'::text])))
);

CREATE TABLE homing.attempt_gaps (
    id bytea NOT NULL,
    from_ms bigint NOT NULL,
    until_ms bigint NOT NULL,
    missed bigint NOT NULL,
    CONSTRAINT attempt_gaps_check CHECK ((until_ms >= from_ms)),
    CONSTRAINT attempt_gaps_id_check CHECK ((length(id) = 16)),
    CONSTRAINT attempt_gaps_missed_check CHECK ((missed > 0))
);

CREATE TABLE homing.attempt_rows (
    id bigint NOT NULL,
    count bigint NOT NULL,
    CONSTRAINT attempt_rows_count_check CHECK ((count >= 0)),
    CONSTRAINT attempt_rows_id_check CHECK ((id = 1))
)
WITH (fillfactor='10');

CREATE TABLE homing.attempts (
    id bytea NOT NULL,
    event text NOT NULL,
    topic text NOT NULL,
    subscription bytea,
    delivery bytea,
    url text,
    step bigint NOT NULL,
    replays bigint NOT NULL,
    class text NOT NULL,
    attempt bigint,
    duration_ms bigint,
    outcome text,
    status bigint,
    response bytea,
    cut bigint NOT NULL,
    cause text,
    sequel text NOT NULL,
    due_ms bigint,
    reason text,
    CONSTRAINT attempts_check CHECK (((attempt IS NULL) = (class = 'not_attempted'::text))),
    CONSTRAINT attempts_check1 CHECK (((duration_ms IS NULL) = (attempt IS NULL))),
    CONSTRAINT attempts_check2 CHECK (((outcome IS NULL) = (attempt IS NULL))),
    CONSTRAINT attempts_check3 CHECK (((due_ms IS NOT NULL) = (sequel = 'waits'::text))),
    CONSTRAINT attempts_check4 CHECK (((reason IS NOT NULL) = (sequel = 'parked'::text))),
    CONSTRAINT attempts_check5 CHECK (((delivery IS NULL) = (subscription IS NULL))),
    CONSTRAINT attempts_class_check CHECK ((class = ANY (ARRAY['accepted'::text, 'refused'::text, 'timed_out'::text, 'unreachable'::text, 'not_attempted'::text]))),
    CONSTRAINT attempts_cut_check CHECK ((cut = ANY (ARRAY[(0)::bigint, (1)::bigint]))),
    CONSTRAINT attempts_delivery_check CHECK ((length(delivery) = 16)),
    CONSTRAINT attempts_id_check CHECK ((length(id) = 16)),
    CONSTRAINT attempts_sequel_check CHECK ((sequel = ANY (ARRAY['delivered'::text, 'waits'::text, 'parked'::text]))),
    CONSTRAINT attempts_subscription_check CHECK ((length(subscription) = 16))
);

CREATE TABLE homing.circuits (
    url text NOT NULL COLLATE pg_catalog."C",
    state text NOT NULL,
    probe_at_ms bigint,
    since_ms bigint NOT NULL,
    reason text,
    window_attempts bigint NOT NULL,
    window_failures bigint NOT NULL,
    failures_in_a_row bigint NOT NULL,
    successes bigint NOT NULL,
    failures bigint NOT NULL,
    first_attempt_ms bigint,
    last_success_ms bigint,
    last_outcome text,
    last_outcome_ms bigint,
    created_ms bigint NOT NULL,
    touched_ms bigint NOT NULL,
    CONSTRAINT circuits_check CHECK (((probe_at_ms IS NOT NULL) = (state = 'open'::text))),
    CONSTRAINT circuits_check1 CHECK (((window_failures >= 0) AND (window_failures <= window_attempts))),
    CONSTRAINT circuits_check2 CHECK (((last_outcome_ms IS NULL) = (last_outcome IS NULL))),
    CONSTRAINT circuits_failures_check CHECK ((failures >= 0)),
    CONSTRAINT circuits_failures_in_a_row_check CHECK ((failures_in_a_row >= 0)),
    CONSTRAINT circuits_state_check CHECK ((state = ANY (ARRAY['closed'::text, 'open'::text, 'frozen'::text]))),
    CONSTRAINT circuits_successes_check CHECK ((successes >= 0)),
    CONSTRAINT circuits_url_check CHECK ((url ~ '^http[!-~]*://[ -~]*$'::text)),
    CONSTRAINT circuits_window_attempts_check CHECK ((window_attempts >= 0))
)
WITH (fillfactor='70');

CREATE TABLE homing.dues (
    wait_ms bigint NOT NULL,
    slice bigint NOT NULL,
    due_ms bigint NOT NULL,
    CONSTRAINT dues_wait_ms_check CHECK ((wait_ms > 0))
);

CREATE TABLE homing.encryption_keys (
    id text NOT NULL COLLATE pg_catalog."C",
    first_used_ms bigint NOT NULL,
    CONSTRAINT encryption_keys_id_check CHECK ((id ~ '^[0-9a-f]{16}$'::text))
);

CREATE TABLE homing.publications (
    key text NOT NULL COLLATE pg_catalog."C",
    fingerprint text NOT NULL,
    published_ms bigint NOT NULL
);

CREATE TABLE homing.queues (
    name text NOT NULL COLLATE pg_catalog."C",
    first_declared_ms bigint NOT NULL
);

CREATE TABLE homing.source_slots (
    source text NOT NULL COLLATE pg_catalog."C",
    slot bigint NOT NULL,
    holder text NOT NULL,
    phase text NOT NULL,
    since_ms bigint NOT NULL,
    not_before_ms bigint,
    detail text,
    records bigint NOT NULL,
    seen_ms bigint NOT NULL,
    CONSTRAINT source_slots_phase_check CHECK ((phase = ANY (ARRAY['free'::text, 'waiting'::text, 'connecting'::text, 'connected'::text]))),
    CONSTRAINT source_slots_records_check CHECK ((records >= 0)),
    CONSTRAINT source_slots_slot_check CHECK (((slot >= 1) AND (slot <= 255)))
);

CREATE TABLE homing.sources (
    name text NOT NULL COLLATE pg_catalog."C",
    standing text NOT NULL,
    since_ms bigint NOT NULL,
    reason text,
    fingerprint text,
    reset text,
    CONSTRAINT sources_check CHECK (((reason IS NOT NULL) = (standing = 'stopped'::text))),
    CONSTRAINT sources_check1 CHECK (((fingerprint IS NOT NULL) = (standing = 'stopped'::text))),
    CONSTRAINT sources_reset_check CHECK ((reset = ANY (ARRAY['smallest'::text, 'largest'::text]))),
    CONSTRAINT sources_standing_check CHECK ((standing = ANY (ARRAY['running'::text, 'paused'::text, 'stopped'::text])))
);

CREATE TABLE homing.subscriptions (
    id text NOT NULL COLLATE pg_catalog."C",
    fingerprint text NOT NULL COLLATE pg_catalog."C",
    url text NOT NULL,
    topics text NOT NULL,
    filters text NOT NULL,
    filter_connector text NOT NULL,
    auth_token text,
    secrets text NOT NULL,
    headers text NOT NULL,
    schedule text,
    rate_limit bigint,
    description text,
    created_ms bigint NOT NULL,
    updated_ms bigint NOT NULL,
    workfront text,
    CONSTRAINT subscriptions_id_check CHECK ((id ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'::text)),
    CONSTRAINT subscriptions_rate_limit_check CHECK ((rate_limit > 0))
);

CREATE TABLE homing.versions (
    name text NOT NULL COLLATE pg_catalog."C",
    version bigint NOT NULL
)
WITH (fillfactor='50');

CREATE TABLE homing.worker_minutes (
    start_ms bigint NOT NULL,
    worker text NOT NULL COLLATE pg_catalog."C",
    events bigint NOT NULL,
    accepted bigint NOT NULL,
    refused bigint NOT NULL,
    timed_out bigint NOT NULL,
    unreachable bigint NOT NULL,
    held bigint NOT NULL,
    parked bigint NOT NULL,
    CONSTRAINT worker_minutes_accepted_check CHECK ((accepted >= 0)),
    CONSTRAINT worker_minutes_events_check CHECK ((events >= 0)),
    CONSTRAINT worker_minutes_held_check CHECK ((held >= 0)),
    CONSTRAINT worker_minutes_parked_check CHECK ((parked >= 0)),
    CONSTRAINT worker_minutes_refused_check CHECK ((refused >= 0)),
    CONSTRAINT worker_minutes_timed_out_check CHECK ((timed_out >= 0)),
    CONSTRAINT worker_minutes_unreachable_check CHECK ((unreachable >= 0))
);

CREATE TABLE homing.workers (
    id text NOT NULL COLLATE pg_catalog."C",
    host text NOT NULL,
    pid bigint NOT NULL,
    version text NOT NULL,
    started_ms bigint NOT NULL,
    seen_ms bigint NOT NULL,
    in_flight bigint NOT NULL,
    requests text DEFAULT '{"by_url":{},"whole":false}'::text NOT NULL,
    CONSTRAINT workers_in_flight_check CHECK ((in_flight >= 0))
);

INSERT INTO homing._sqlx_migrations VALUES (1, 'subscriptions', '2026-11-29 09:40:45.600194+00', true, '\x61d138ee775a935039390ef3b1ff56024a9f382a1e0d10d01b8204cd70dcee421bb6b1534782f33d7e7c3787ed5a383e', 7979648);
INSERT INTO homing._sqlx_migrations VALUES (2, 'circuits', '2026-11-29 09:40:45.600194+00', true, '\x3b69b1760ca38034de1c591787cb0f2140885f73fbb01cf3e1efcdad1e0523215e73b6bcb925ddfe2a6be62909b63c4a', 2538268);
INSERT INTO homing._sqlx_migrations VALUES (3, 'secrets', '2026-11-29 09:40:45.600194+00', true, '\x0049b1a1e2242c34a7297282e402ab038f56bf8251c5e3b746a55ab0b53d04499566da273518f99f6e1e9ef2c3ea5a17', 5430945);
INSERT INTO homing._sqlx_migrations VALUES (4, 'attempts', '2026-11-29 09:40:45.600194+00', true, '\xfe59b457be2a36407b8b9e408d0800602517249df7669e4eb03fe80d311dcb6265f5709ad153b76b47520fbe98f2a4b4', 3140617);
INSERT INTO homing._sqlx_migrations VALUES (5, 'sources', '2026-11-29 09:40:45.600194+00', true, '\x19d77d0d635b449014e281c941fbe40ea9a3bbf765016c5ac1c9292716c0541c8cb822a331fafb97a6bcbdc3fa4bc8d4', 2400512);
INSERT INTO homing._sqlx_migrations VALUES (6, 'activity', '2026-11-29 09:40:45.600194+00', true, '\x35eb4a718265be6749d1e23865213e8e449360f88e86b6ca2211e42a2f116d41a92b8ac9dd6da411105b87810b9930b0', 6154053);
INSERT INTO homing._sqlx_migrations VALUES (7, 'workfront', '2026-11-29 09:40:45.600194+00', true, '\x945eca98f5c6d8d38d6515c63246ce386c993dd7a4a0684c0130b2e9e09aded08737b895dc99e4b201ea6563e722eb28', 406958);
INSERT INTO homing._sqlx_migrations VALUES (8, 'publications', '2026-11-29 09:40:45.600194+00', true, '\xf569fc61140e73e6147f9b71c1ef407ab592c42aca3d07b1818ebfe26173c4660827f18fa5cb2bb78be30a6b8c4deb5c', 1006783);
INSERT INTO homing._sqlx_migrations VALUES (9, 'requests', '2026-11-29 09:40:45.600194+00', true, '\xb2fd78835865bd8336785eaedbe3690cfcb18756ae7cb457550736b20423b5eb93d2551c9488a768e53244b4dd8851ab', 259247);

INSERT INTO homing.api_tokens VALUES ('reader', 'PEca82/91Y0s/gzk1QflkFwjhss8M3QTqUiLoWPNKtw=', 'read', 1795945250462);

INSERT INTO homing.attempt_gaps VALUES ('\x01a226a96aca775fa3edbea5212c32e4', 1795945267630, 1795945268630, 3);

INSERT INTO homing.attempt_rows VALUES (1, 64);

INSERT INTO homing.attempts VALUES ('\x01a226adb3ad7d3b8098646c975d7026', 'limited-0', 'lim.x', '\x01a226adadd2727d891d5f18bf79845a', '\x1f636fb4a1f852cead0dbbf5ab3b6b7f', 'http://127.0.0.1:18965/limited', 0, 0, 'accepted', 1, 4, 'accepted 200', 200, '\x6f6b', 0, NULL, 'delivered', NULL, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adb4bd74fda8e8ad217b5905f1', 'gone-1', 'gone.x', '\x01a226adadc07211b3d21e3e5fb38c06', '\x54815e4a77bc58c6865e5cb8ac1af346', 'http://127.0.0.1:18965/gone', 0, 0, 'refused', 1, 3, 'refused 410', 410, '\x6f6b', 0, NULL, 'parked', NULL, 'gone');
INSERT INTO homing.attempts VALUES ('\x01a226adb78c7e70bd2e8d56f842f366', 'gone-2', 'gone.x', '\x01a226adadc07211b3d21e3e5fb38c06', '\x1bbd33151351547f833b32d6eca939d4', 'http://127.0.0.1:18965/gone', 0, 0, 'not_attempted', NULL, NULL, NULL, NULL, NULL, 0, 'the circuit of its URL is frozen', 'parked', NULL, 'frozen');
INSERT INTO homing.attempts VALUES ('\x01a226adb795735589781b6908fe87cb', 'limited-3', 'lim.x', '\x01a226adadd2727d891d5f18bf79845a', '\x4249cc5417865adf886580526bd405d7', 'http://127.0.0.1:18965/limited', 0, 0, 'accepted', 1, 1, 'accepted 200', 200, '\x6f6b', 0, NULL, 'delivered', NULL, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adb7a57453a4b5cf881838448e', 'down-1', 'down.x', '\x01a226adadc472368fd5168922b7e757', '\x7065eaf5afdd5180b7043dde0beab825', 'http://127.0.0.1:18965/down', 0, 0, 'refused', 1, 1, 'refused 503', 503, '\x6f6b', 0, NULL, 'waits', 1795945250179, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adb7b67033b32fa72ae0a70745', 'down-3', 'down.x', '\x01a226adadc472368fd5168922b7e757', '\x348fb3d0964553b79173945127f6f49a', 'http://127.0.0.1:18965/down', 0, 0, 'refused', 1, 1, 'refused 503', 503, '\x6f6b', 0, NULL, 'waits', 1795945250196, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adb798705499a241e2eb9d471e', 'down-0', 'down.x', '\x01a226adadc472368fd5168922b7e757', '\x8ac60841a6f357398678d8e20a719f9e', 'http://127.0.0.1:18965/down', 0, 0, 'refused', 1, 43, 'refused 503', 503, '\x6f6b', 0, NULL, 'waits', 1795945250208, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adb7b07e578d5048f84d4c73a6', 'down-2', 'down.x', '\x01a226adadc472368fd5168922b7e757', '\x206ba5a4cbff58c79683909c1256b392', 'http://127.0.0.1:18965/down', 0, 0, 'refused', 1, 44, 'refused 503', 503, '\x6f6b', 0, NULL, 'waits', 1795945250233, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adb7c472218cb2a20c182ec8b3', 'down-4', 'down.x', '\x01a226adadc472368fd5168922b7e757', '\x71ab16340cdf539ab16fcb19eca91208', 'http://127.0.0.1:18965/down', 0, 0, 'refused', 1, 52, 'refused 503', 503, '\x6f6b', 0, NULL, 'waits', 1795945250261, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adb7d57017952afeb9841e414b', 'down-5', 'down.x', '\x01a226adadc472368fd5168922b7e757', '\xb14876a62bc25cb69b1c9693f18d4609', 'http://127.0.0.1:18965/down', 0, 0, 'refused', 1, 48, 'refused 503', 503, '\x6f6b', 0, NULL, 'waits', 1795945250273, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adb964735f990ca512177d8f10', 'off-1', 'off.x', '\x01a226adadc97398b8cbb45ee025ac22', '\x5e982cee98305386bd0f44143c43b516', 'http://127.0.0.1:18965/off', 0, 0, 'not_attempted', NULL, NULL, NULL, NULL, NULL, 0, 'the circuit of its URL is frozen', 'parked', NULL, 'frozen');
INSERT INTO homing.attempts VALUES ('\x01a226adb96c779b87e57249cdc2eff5', 'never-1', 'never.x', '\x01a226adadba70f282a77a8b65fb8127', '\x8dd2348042df5fabaff17661e0c17ef0', 'http://127.0.0.1:18965/never', 0, 0, 'refused', 1, 1, 'refused 400', 400, '\x6f6b', 0, NULL, 'waits', 1795945251133, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adbb7d720fa376ca173e37e254', 'limited-4', 'lim.x', '\x01a226adadd2727d891d5f18bf79845a', '\x1a12969b87e75de095dbb7b37b34d4f7', 'http://127.0.0.1:18965/limited', 0, 0, 'accepted', 1, 1, 'accepted 200', 200, '\x6f6b', 0, NULL, 'delivered', NULL, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adbd62799b80de050e93198c8c', 'held-1', 'down.x', '\x01a226adadc472368fd5168922b7e757', '\x598f2d977e4e55219dff84a5dd2628f8', 'http://127.0.0.1:18965/down', 0, 0, 'not_attempted', NULL, NULL, NULL, NULL, NULL, 0, 'the circuit of its URL is open', 'waits', 1795945251646, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adbd717035a9de4c7f98c998d4', 'large', 'order.refund', NULL, NULL, NULL, 0, 0, 'not_attempted', NULL, NULL, NULL, NULL, NULL, 0, 'it is larger than `worker.event_bytes_max`', 'parked', NULL, 'too_large');
INSERT INTO homing.attempts VALUES ('\x01a226adbd9a724389cfecfb99f330f6', 'down-1', 'down.x', '\x01a226adadc472368fd5168922b7e757', '\x7065eaf5afdd5180b7043dde0beab825', 'http://127.0.0.1:18965/down', 1, 0, 'not_attempted', NULL, NULL, NULL, NULL, NULL, 0, 'the circuit of its URL is open', 'waits', 1795945253202, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adbdc0726f98daaeafb0f3ecc6', 'down-0', 'down.x', '\x01a226adadc472368fd5168922b7e757', '\x8ac60841a6f357398678d8e20a719f9e', 'http://127.0.0.1:18965/down', 1, 0, 'not_attempted', NULL, NULL, NULL, NULL, NULL, 0, 'the circuit of its URL is open', 'waits', 1795945253240, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adbdc5799f8daf2a21043c2d6e', 'down-3', 'down.x', '\x01a226adadc472368fd5168922b7e757', '\x348fb3d0964553b79173945127f6f49a', 'http://127.0.0.1:18965/down', 1, 0, 'not_attempted', NULL, NULL, NULL, NULL, NULL, 0, 'the circuit of its URL is open', 'waits', 1795945253245, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adbdd17e938949e36a61b0f83a', 'down-2', 'down.x', '\x01a226adadc472368fd5168922b7e757', '\x206ba5a4cbff58c79683909c1256b392', 'http://127.0.0.1:18965/down', 1, 0, 'not_attempted', NULL, NULL, NULL, NULL, NULL, 0, 'the circuit of its URL is open', 'waits', 1795945253257, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adbdef7652885169b3192bbcc0', 'down-5', 'down.x', '\x01a226adadc472368fd5168922b7e757', '\xb14876a62bc25cb69b1c9693f18d4609', 'http://127.0.0.1:18965/down', 1, 0, 'not_attempted', NULL, NULL, NULL, NULL, NULL, 0, 'the circuit of its URL is open', 'waits', 1795945253287, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adbdef722880961251e09a8280', 'down-4', 'down.x', '\x01a226adadc472368fd5168922b7e757', '\x71ab16340cdf539ab16fcb19eca91208', 'http://127.0.0.1:18965/down', 1, 0, 'not_attempted', NULL, NULL, NULL, NULL, NULL, 0, 'the circuit of its URL is open', 'waits', 1795945253287, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adbe0d7db19ba3cb7d8081c463', 'paid-0', 'order.paid', '\x01a226adadb3718792af6dccf9adffac', '\xc31ee8f9b6ab5f6a9b4e1d1423f8ed73', 'http://127.0.0.1:18965/filter', 0, 0, 'accepted', 1, 2, 'accepted 200', 200, '\x6f6b', 0, NULL, 'delivered', NULL, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adbe0d704d89fd0071196b52de', 'paid-0', 'order.paid', '\x01a226adad997045b54b3137d4484df3', '\x7d3f87c8dacb52059982927d57d7a9a3', 'http://127.0.0.1:18965/ok', 0, 0, 'accepted', 1, 3, 'accepted 200', 200, '\x6f6b', 0, NULL, 'delivered', NULL, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adbe0d780895daff691ca249c3', 'paid-0', 'order.paid', '\x01a226adada47033bb30d11e60e4a0da', '\x60844b2128a952fea05054b0148d9c1d', 'http://127.0.0.1:18965/fail', 0, 0, 'refused', 1, 6, 'refused 500', 500, '\x6f6b', 0, NULL, 'waits', 1795945251824, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adbe247f53bdc38dc18d8f1b2c', '30213c19-9b96-5265-bfbb-4c9096f5b4a1', 'order.http', '\x01a226adadb3718792af6dccf9adffac', '\xfcb6f2238a3c506dbc14383870fb9740', 'http://127.0.0.1:18965/filter', 0, 0, 'accepted', 1, 57, 'accepted 200', 200, '\x6f6b', 0, NULL, 'delivered', NULL, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adbe257eddaaa57ad96c5908fa', '30213c19-9b96-5265-bfbb-4c9096f5b4a1', 'order.http', '\x01a226adad997045b54b3137d4484df3', '\xc600068fc9ce545c9faf441153fd3540', 'http://127.0.0.1:18965/ok', 0, 0, 'accepted', 1, 57, 'accepted 200', 200, '\x6f6b', 0, NULL, 'delivered', NULL, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adbeeb7d53a046c952896a211c', 'refund-0', 'order.refund', '\x01a226adad997045b54b3137d4484df3', '\x8efe807586165f69bb09db25939502da', 'http://127.0.0.1:18965/ok', 0, 0, 'accepted', 1, 1, 'accepted 200', 200, '\x6f6b', 0, NULL, 'delivered', NULL, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adbeec740db94091c54f1b0c4a', 'refund-0', 'order.refund', '\x01a226adadb3718792af6dccf9adffac', '\x73288c618a6e5444bcd1b30d680670f3', 'http://127.0.0.1:18965/filter', 0, 0, 'accepted', 1, 8, 'accepted 200', 200, '\x6f6b', 0, NULL, 'delivered', NULL, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adbf667434afdb09b65f31d64e', 'limited-1', 'lim.x', '\x01a226adadd2727d891d5f18bf79845a', '\x69855090a4435e15bf67926d7e0e9d3f', 'http://127.0.0.1:18965/limited', 0, 0, 'accepted', 1, 7, 'accepted 200', 200, '\x6f6b', 0, NULL, 'delivered', NULL, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adc0ea7ffd8e29cb5d31400584', 'refund-1', 'order.refund', '\x01a226adadb3718792af6dccf9adffac', '\x47ff48f4de7451fdb8797c3ff633f33b', 'http://127.0.0.1:18965/filter', 0, 0, 'accepted', 1, 6, 'accepted 200', 200, '\x6f6b', 0, NULL, 'delivered', NULL, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adc0ea751d9ed1ad793cc9b370', 'refund-1', 'order.refund', '\x01a226adad997045b54b3137d4484df3', '\xfb353a28af9d57ec9c100ccae2a705fd', 'http://127.0.0.1:18965/ok', 0, 0, 'accepted', 1, 11, 'accepted 200', 200, '\x6f6b', 0, NULL, 'delivered', NULL, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adc1497562b27f2f285b4f0edb', 'never-1', 'never.x', '\x01a226adadba70f282a77a8b65fb8127', '\x8dd2348042df5fabaff17661e0c17ef0', 'http://127.0.0.1:18965/never', 1, 0, 'refused', 2, 1, 'refused 400', 400, '\x6f6b', 0, NULL, 'parked', NULL, 'exhausted');
INSERT INTO homing.attempts VALUES ('\x01a226adc2ec78c2855b9f0c7268f346', 'refund-2', 'order.refund', '\x01a226adadb3718792af6dccf9adffac', '\x5306165dcc6a5e3dbd14daa70305abff', 'http://127.0.0.1:18965/filter', 0, 0, 'accepted', 1, 2, 'accepted 200', 200, '\x6f6b', 0, NULL, 'delivered', NULL, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adc2ec7712b19b95feb6686c8a', 'refund-2', 'order.refund', '\x01a226adad997045b54b3137d4484df3', '\x27e1dbd34a3a56279d91d1ab1ed5c311', 'http://127.0.0.1:18965/ok', 0, 0, 'accepted', 1, 2, 'accepted 200', 200, '\x6f6b', 0, NULL, 'delivered', NULL, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adc3457779b6ac693bded7db8a', 'held-1', 'down.x', '\x01a226adadc472368fd5168922b7e757', '\x598f2d977e4e55219dff84a5dd2628f8', 'http://127.0.0.1:18965/down', 1, 0, 'not_attempted', NULL, NULL, NULL, NULL, NULL, 0, 'the circuit of its URL is open', 'waits', 1795945254653, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adc34e7bcba7747a400c42b127', 'limited-2', 'lim.x', '\x01a226adadd2727d891d5f18bf79845a', '\x604a40cdcc6550bf95691aaee686c2df', 'http://127.0.0.1:18965/limited', 0, 0, 'accepted', 1, 1, 'accepted 200', 200, '\x6f6b', 0, NULL, 'delivered', NULL, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adc4057cf2855ca67d1c7374f1', 'paid-0', 'order.paid', '\x01a226adada47033bb30d11e60e4a0da', '\x60844b2128a952fea05054b0148d9c1d', 'http://127.0.0.1:18965/fail', 1, 0, 'refused', 2, 1, 'refused 500', 500, '\x6f6b', 0, NULL, 'waits', 1795945254846, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adc4ea7b56a5b455f1245b160e', 'refund-3', 'order.refund', '\x01a226adad997045b54b3137d4484df3', '\x0240a31cc15b571b97fd0167683ef6c1', 'http://127.0.0.1:18965/ok', 0, 0, 'accepted', 1, 6, 'accepted 200', 200, '\x6f6b', 0, NULL, 'delivered', NULL, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adc4eb714abc4140353075a9a0', 'refund-3', 'order.refund', '\x01a226adadb3718792af6dccf9adffac', '\xc9d0c2d6c8de546ea6e7a66a068023a9', 'http://127.0.0.1:18965/filter', 0, 0, 'accepted', 1, 10, 'accepted 200', 200, '\x6f6b', 0, NULL, 'delivered', NULL, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adc737710f8e3cfc7b9b671625', 'limited-11', 'lim.x', '\x01a226adadd2727d891d5f18bf79845a', '\x5e00a7a5ad175d9cbfd89553a391e76c', 'http://127.0.0.1:18965/limited', 0, 0, 'accepted', 1, 11, 'accepted 200', 200, '\x6f6b', 0, NULL, 'delivered', NULL, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226add2f0717484c3176423db16c6', 'limited-13', 'lim.x', '\x01a226adadd2727d891d5f18bf79845a', '\xc31d272de93b514aab33eb2d1bb470c6', 'http://127.0.0.1:18965/limited', 0, 0, 'accepted', 1, 1, 'accepted 200', 200, '\x6f6b', 0, NULL, 'delivered', NULL, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226ae0c147003a46947fcba102cc4', 'paid-1', 'order.paid', '\x01a226adadb3718792af6dccf9adffac', '\x65aba9f09eda5a099e6ad3758c733440', 'http://127.0.0.1:18965/filter', 0, 0, 'accepted', 1, 8, 'accepted 200', 200, '\x6f6b', 0, NULL, 'delivered', NULL, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226ae0c157b2bb107313ad0bd73f2', 'paid-1', 'order.paid', '\x01a226adada47033bb30d11e60e4a0da', '\x883ff51aeab35843b94ed6a8260a700b', 'http://127.0.0.1:18965/fail', 0, 0, 'refused', 1, 7, 'refused 500', 500, '\x6f6b', 0, NULL, 'waits', 1795945271801, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226ae0c137fe9ae0fa266420da461', 'paid-1', 'order.paid', '\x01a226adad997045b54b3137d4484df3', '\xe5cf9cad79545fdd8c41aaa2b4bda768', 'http://127.0.0.1:18965/ok', 0, 0, 'accepted', 1, 3, 'accepted 200', 200, '\x6f6b', 0, NULL, 'delivered', NULL, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226ae0e75767d88d902925eaa32ca', 'limited-9', 'lim.x', '\x01a226adadd2727d891d5f18bf79845a', '\xccdb4e6e59a85b33b471bace23e4fda5', 'http://127.0.0.1:18965/limited', 0, 0, 'accepted', 1, 1, 'accepted 200', 200, '\x6f6b', 0, NULL, 'delivered', NULL, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adc9597daa8c7aa5403d0cda7c', 'down-1', 'down.x', '\x01a226adadc472368fd5168922b7e757', '\x7065eaf5afdd5180b7043dde0beab825', 'http://127.0.0.1:18965/down', 2, 0, 'not_attempted', NULL, NULL, NULL, NULL, NULL, 0, 'the circuit of its URL is open', 'waits', 1795945853209, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adc980736ba635314637198e04', 'down-0', 'down.x', '\x01a226adadc472368fd5168922b7e757', '\x8ac60841a6f357398678d8e20a719f9e', 'http://127.0.0.1:18965/down', 2, 0, 'not_attempted', NULL, NULL, NULL, NULL, NULL, 0, 'the circuit of its URL is open', 'waits', 1795945853248, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adc98072c2832de366494e4d20', 'down-3', 'down.x', '\x01a226adadc472368fd5168922b7e757', '\x348fb3d0964553b79173945127f6f49a', 'http://127.0.0.1:18965/down', 2, 0, 'not_attempted', NULL, NULL, NULL, NULL, NULL, 0, 'the circuit of its URL is open', 'waits', 1795945853248, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adc99d714a8480849fe134ee76', 'down-2', 'down.x', '\x01a226adadc472368fd5168922b7e757', '\x206ba5a4cbff58c79683909c1256b392', 'http://127.0.0.1:18965/down', 2, 0, 'not_attempted', NULL, NULL, NULL, NULL, NULL, 0, 'the circuit of its URL is open', 'waits', 1795945853277, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adc9aa776aa4f78701e5fb71aa', 'down-5', 'down.x', '\x01a226adadc472368fd5168922b7e757', '\xb14876a62bc25cb69b1c9693f18d4609', 'http://127.0.0.1:18965/down', 2, 0, 'not_attempted', NULL, NULL, NULL, NULL, NULL, 0, 'the circuit of its URL is open', 'waits', 1795945853290, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adc9aa7711b15ec6b6e9b84c15', 'down-4', 'down.x', '\x01a226adadc472368fd5168922b7e757', '\x71ab16340cdf539ab16fcb19eca91208', 'http://127.0.0.1:18965/down', 2, 0, 'not_attempted', NULL, NULL, NULL, NULL, NULL, 0, 'the circuit of its URL is open', 'waits', 1795945853290, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adcb2070c099420ba2c22af601', 'limited-14', 'lim.x', '\x01a226adadd2727d891d5f18bf79845a', '\xe563ae2a3df65840aa2caaafbca032e3', 'http://127.0.0.1:18965/limited', 0, 0, 'accepted', 1, 2, 'accepted 200', 200, '\x6f6b', 0, NULL, 'delivered', NULL, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adcf0479159229e9ad213b9bbb', 'held-1', 'down.x', '\x01a226adadc472368fd5168922b7e757', '\x598f2d977e4e55219dff84a5dd2628f8', 'http://127.0.0.1:18965/down', 2, 0, 'not_attempted', NULL, NULL, NULL, NULL, NULL, 0, 'the circuit of its URL is open', 'waits', 1795945854660, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adcf0871d9abcde58c80556fb1', 'limited-16', 'lim.x', '\x01a226adadd2727d891d5f18bf79845a', '\x71e26425a08d5dacb50c4d02cb4e3f54', 'http://127.0.0.1:18965/limited', 0, 0, 'accepted', 1, 1, 'accepted 200', 200, '\x6f6b', 0, NULL, 'delivered', NULL, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226adcfc37fdf8d0a19c453612da5', 'paid-0', 'order.paid', '\x01a226adada47033bb30d11e60e4a0da', '\x60844b2128a952fea05054b0148d9c1d', 'http://127.0.0.1:18965/fail', 2, 0, 'refused', 3, 1, 'refused 500', 500, '\x6f6b', 0, NULL, 'waits', 1795945854853, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226add6d979e1a516b1d19dc74db3', 'limited-7', 'lim.x', '\x01a226adadd2727d891d5f18bf79845a', '\xe97d307f62d75160834282357da57649', 'http://127.0.0.1:18965/limited', 0, 0, 'accepted', 1, 5, 'accepted 200', 200, '\x6f6b', 0, NULL, 'delivered', NULL, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226ae06a27083a99dc89d4b63d99c', 'limited-5', 'lim.x', '\x01a226adadd2727d891d5f18bf79845a', '\x04007c0e122457aba2c5e61ecda8c484', 'http://127.0.0.1:18965/limited', 0, 0, 'accepted', 1, 1, 'accepted 200', 200, '\x6f6b', 0, NULL, 'delivered', NULL, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226ae09727110af765d9f3be7d955', 'twice-1', 'twice.x', '\x01a226adadd975bd84d97d6648658bad', '\xe987741dc7ea570fa77282b54c2da9ab', 'http://127.0.0.1:18965/twice', 0, 0, 'refused', 1, 4, 'refused 429', 429, '\x6f6b', 0, NULL, 'waits', 1795945869623, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226ae0a8d786db8467ba3e78a6667', 'limited-6', 'lim.x', '\x01a226adadd2727d891d5f18bf79845a', '\x625a1ff8e7f256f2a2d7263434f598fd', 'http://127.0.0.1:18965/limited', 0, 0, 'accepted', 1, 4, 'accepted 200', 200, '\x6f6b', 0, NULL, 'delivered', NULL, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226ae120572aea9ce823eff5da75f', 'paid-1', 'order.paid', '\x01a226adada47033bb30d11e60e4a0da', '\x883ff51aeab35843b94ed6a8260a700b', 'http://127.0.0.1:18965/fail', 1, 0, 'refused', 2, 1, 'refused 500', 500, '\x6f6b', 0, NULL, 'waits', 1795945274815, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226ae125d77a397e58b846550e1f5', 'limited-12', 'lim.x', '\x01a226adadd2727d891d5f18bf79845a', '\xd564dcd4987453cf8a8f8cb77b17b042', 'http://127.0.0.1:18965/limited', 0, 0, 'accepted', 1, 1, 'accepted 200', 200, '\x6f6b', 0, NULL, 'delivered', NULL, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226ae12f97b00a27a5d30979ba656', 'never-2', 'never.x', '\x01a226adadba70f282a77a8b65fb8127', '\x877a1cab718e52bd8131627d23179ae6', 'http://127.0.0.1:18965/never', 0, 0, 'refused', 1, 10, 'refused 400', 400, '\x6f6b', 0, NULL, 'waits', 1795945274068, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226ae132075f589f62c48417710a4', 'paid-2', 'order.paid', '\x01a226adada47033bb30d11e60e4a0da', '\x5cc4d7db181452fd83ea502c1a4e763b', 'http://127.0.0.1:18965/fail', 0, 0, 'refused', 1, 9, 'refused 500', 500, '\x6f6b', 0, NULL, 'waits', 1795945273606, NULL);
INSERT INTO homing.attempts VALUES ('\x01a226ae131c7636bb8f9a81840afaef', 'paid-2', 'order.paid', '\x01a226adad997045b54b3137d4484df3', '\x0c13611e02165603aa245e07d492cb90', 'http://127.0.0.1:18965/ok', 0, 0, 'accepted', 1, 13, 'accepted 200', 200, '\x6f6b', 0, NULL, 'delivered', NULL, NULL);

INSERT INTO homing.circuits VALUES ('http://127.0.0.1:18965/gone', 'frozen', NULL, 1795945247938, '{"reason":"gone"}', 1, 1, 1, 0, 1, 1795945247936, NULL, 'refused 410', 1795945247936, 1795945247937, 1795945247936);
INSERT INTO homing.circuits VALUES ('http://127.0.0.1:18965/down', 'open', 1795945848835, 1795945248835, '{"reason":"failures_in_a_row","failures":6}', 6, 6, 6, 0, 6, 1795945248679, NULL, 'refused 503', 1795945248773, 1795945248679, 1795945248835);
INSERT INTO homing.circuits VALUES ('http://127.0.0.1:18965/off', 'frozen', NULL, 1795945248962, '{"reason":"disabled"}', 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, 1795945248961, 1795945248961);
INSERT INTO homing.circuits VALUES ('http://127.0.0.1:18965/limited', 'closed', NULL, 1795945252667, NULL, 11, 0, 0, 11, 0, 1795945247665, 1795945268900, 'accepted 200', 1795945268900, 1795945252667, 1795945269074);
INSERT INTO homing.circuits VALUES ('http://127.0.0.1:18965/twice', 'closed', NULL, 1795945269627, NULL, 1, 1, 1, 0, 1, 1795945269623, NULL, 'refused 429', 1795945269623, 1795945269627, 1795945269627);
INSERT INTO homing.circuits VALUES ('http://127.0.0.1:18965/filter', 'closed', NULL, 1795945255400, NULL, 7, 0, 0, 7, 0, 1795945250320, 1795945270300, 'accepted 200', 1795945270300, 1795945255400, 1795945270304);
INSERT INTO homing.circuits VALUES ('http://127.0.0.1:18965/ok', 'closed', NULL, 1795945255400, NULL, 7, 0, 0, 7, 0, 1795945250320, 1795945270301, 'accepted 200', 1795945270301, 1795945255400, 1795945270304);
INSERT INTO homing.circuits VALUES ('http://127.0.0.1:18965/never', 'closed', NULL, 1795945249134, NULL, 3, 3, 3, 0, 3, 1795945249133, NULL, 'refused 400', 1795945272068, 1795945249134, 1795945272069);
INSERT INTO homing.circuits VALUES ('http://127.0.0.1:18965/fail', 'open', 1795945872123, 1795945272123, '{"reason":"failures_in_a_row","failures":6}', 6, 6, 6, 0, 6, 1795945250324, NULL, 'refused 500', 1795945272106, 1795945250325, 1795945272123);
INSERT INTO homing.circuits VALUES ('http://127.0.0.1:18965/rotated', 'closed', NULL, 1795945275226, '{"reason":"enabled"}', 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, 1795945274914, 1795945275226);

INSERT INTO homing.dues VALUES (1000, 1795945248, 1795945248777);
INSERT INTO homing.dues VALUES (1500, 1795945250, 1795945250179);
INSERT INTO homing.dues VALUES (1500, 1795945251, 1795945251646);
INSERT INTO homing.dues VALUES (2000, 1795945251, 1795945251133);
INSERT INTO homing.dues VALUES (3000, 1795945253, 1795945253202);
INSERT INTO homing.dues VALUES (4000, 1795945252, 1795945252850);
INSERT INTO homing.dues VALUES (4000, 1795945253, 1795945253007);
INSERT INTO homing.dues VALUES (3000, 1795945254, 1795945254653);
INSERT INTO homing.dues VALUES (16000, 1795945268, 1795945268890);
INSERT INTO homing.dues VALUES (16000, 1795945269, 1795945269009);
INSERT INTO homing.dues VALUES (600000, 766515515, 1795945853209);
INSERT INTO homing.dues VALUES (600000, 766515516, 1795945854660);
INSERT INTO homing.dues VALUES (1000, 1795945271, 1795945271313);
INSERT INTO homing.dues VALUES (1500, 1795945271, 1795945271801);
INSERT INTO homing.dues VALUES (64000, 1795945332, 1795945332978);
INSERT INTO homing.dues VALUES (64000, 1795945333, 1795945333000);
INSERT INTO homing.dues VALUES (600000, 766515522, 1795945869624);

INSERT INTO homing.encryption_keys VALUES ('4dbdc3614582c4ca', 1795945245777);

INSERT INTO homing.publications VALUES ('vil0VGl443OebW2oXEvp8zTOMt8rn9S2/xtVwNV+nUQ=', 'f2+Ix5us5DX2ukOOhDU7BLxphbuDlUu2SqT0lEm6VPw=', 1795945250339);

INSERT INTO homing.queues VALUES ('homing.v1.wait.1000', 1795945245823);
INSERT INTO homing.queues VALUES ('homing.v1.wait.1500', 1795945245823);
INSERT INTO homing.queues VALUES ('homing.v1.wait.16000', 1795945245823);
INSERT INTO homing.queues VALUES ('homing.v1.wait.2000', 1795945245823);
INSERT INTO homing.queues VALUES ('homing.v1.wait.3000', 1795945245823);
INSERT INTO homing.queues VALUES ('homing.v1.wait.4000', 1795945245823);
INSERT INTO homing.queues VALUES ('homing.v1.wait.600000', 1795945245823);
INSERT INTO homing.queues VALUES ('homing.v1.wait.64000', 1795945245823);

INSERT INTO homing.source_slots VALUES ('main', 1, 'vm, process 820', 'free', 1795945247644, 1795945249744, NULL, 0, 1795945247644);

INSERT INTO homing.sources VALUES ('main', 'paused', 1795945247583, NULL, NULL, NULL);

INSERT INTO homing.subscriptions VALUES ('01a226ad-ad99-7045-b54b-3137d4484df3', 'lTK+hX/HLGCmChnRr+QBES49lyyc8QGyWnCvCJYIZA4=', 'http://127.0.0.1:18965/ok', '["order.#"]', '[]', 'AND', 'v1.4dbdc3614582c4ca.6hOnG1yExADOcUaDhH40yrueAiYRN+WAB8sP+aYYbRVw6fAofstj+AFsIHV2Wki4U2emcg', 'v1.4dbdc3614582c4ca.E78EFUf6JeQ2XlMtV8MOQ3orKaUvNhNd7qoumLGbxNndN0jOeZOQnCD9Om68vtxUqLeDCIGCBtLMexzsUT08YCnhT1jInMm2Rop368tv9cH/YbxvFjKnjjkrQ6iKIg', 'v1.4dbdc3614582c4ca.fwVB2biIBD5U2WzSWtMbyDO4Mrs2pVdVAfhkhcbn/1jRHpqs2AmxbUOk0N9YA1/TYIYKeoty4U2HnbGO', NULL, NULL, 'all orders', 1795945246105, 1795945246105, NULL);
INSERT INTO homing.subscriptions VALUES ('01a226ad-ada4-7033-bb30-d11e60e4a0da', 'u1OQas8hwlKllCX+VltHa8YHqnHM7lUVS/zKEz5XOkw=', 'http://127.0.0.1:18965/fail', '["order.paid"]', '[]', 'AND', NULL, 'v1.4dbdc3614582c4ca.5ccKmK5kvn0WPtv0VI5Sw4mS/N/Ogh5Wj25w8AQZwTozmR1SxhM7aC1x/bcLBIE+n3kTqm6MuqpAMoNjaHz0LsTlHxUopp6axbK4k1L8g78cW6uDaicJZVSYemolMA', 'v1.4dbdc3614582c4ca.flkloZRevP2G2ONnEiTsBx52OJy6c7JxfqvXz32c4yGeOqvEJKsljvq8', NULL, NULL, NULL, 1795945246116, 1795945246116, NULL);
INSERT INTO homing.subscriptions VALUES ('01a226ad-adb3-7187-92af-6dccf9adffac', 'rAHt+GVSRNgvFxQAAFV4kBML033RxPxId9A6k8RE5QQ=', 'http://127.0.0.1:18965/filter', '["order.#"]', '[{"comparison":"eq","fieldName":"status","fieldValue":"CUR","state":"newState"},{"comparison":"eq","fieldName":"n","fieldValue":"1","state":"newState"}]', 'OR', NULL, 'v1.4dbdc3614582c4ca.iKWW3mT+MDQpxup5Dmtdu2Vt1yOzkI9txXUF1/x2e6LQKR8tNNmwj5WX93nC7WHCE3spRE9lmU5xC3RK1TVbX6LqAENeTiqD039QJpnjxjgddAN+BoHJxP3MQXc7pg', 'v1.4dbdc3614582c4ca.745dTAwYY2zjAOM7vI6D6qQeTL+Ht48qorVedf1YDsN8qfNaxG4+1Uam', NULL, NULL, NULL, 1795945246131, 1795945246131, NULL);
INSERT INTO homing.subscriptions VALUES ('01a226ad-adba-70f2-82a7-7a8b65fb8127', 'VBsluECyzBs1CApkef1xFtTrXJmcT8Wa874tG1TLzdo=', 'http://127.0.0.1:18965/never', '["never.x"]', '[]', 'AND', NULL, 'v1.4dbdc3614582c4ca.KLWw97QzIHkP2UVlNg2T7Vb9wyfKleYl3mcAJp5aYl1WEp3lWE1VruSNL21gouUJy4agKqvuEDX6M8nNuCTM9iXZQ5Adu3qB+UDoiakLb8g4i9ZSeWh1OvcC/ZpofQ', 'v1.4dbdc3614582c4ca.AMf11tsYgMrjoqOZZOqx9lHJi6hQbSBnuX/a8PE/a4lXuMqjX4ENhvmq', 'short', NULL, NULL, 1795945246138, 1795945246138, NULL);
INSERT INTO homing.subscriptions VALUES ('01a226ad-adc0-7211-b3d2-1e3e5fb38c06', '0t2D7Hh1gdS+w4gz5h86beIN40pHNNAr5iRTNA9Iky8=', 'http://127.0.0.1:18965/gone', '["gone.x"]', '[]', 'AND', NULL, 'v1.4dbdc3614582c4ca.Da8sobjG/JpH33hWR3WeqFhuh3vs4iVLTmjjpgLF/Vt68PsKK+Yl0t+f23REcx4dojHLIhW+3Cst3AEqm5S2KyndlSsOGeeatIE9uPR4pLj6JR3kjc7y4UaYj8Th4w', 'v1.4dbdc3614582c4ca.Mfcx94THnRB/lFathLhq9X4sl9IDsSYyc3fY+4gjUV6vFcCaDcbb6vhx', NULL, NULL, NULL, 1795945246144, 1795945246144, NULL);
INSERT INTO homing.subscriptions VALUES ('01a226ad-adc4-7236-8fd5-168922b7e757', '4C4eiLiOrtHBxev1glxu+HIVzh98zrVS46AQ8hJSBDw=', 'http://127.0.0.1:18965/down', '["down.x"]', '[]', 'AND', NULL, 'v1.4dbdc3614582c4ca.6qF8vkAQVBo4gd+bJUq1xVkq6CB3pDCV8doSLK0Wes+hpf+k2vncMpnQ4IQo2pC4Z8Cg4gJhtzOyxLiDT7Qvd//y5meMRuZDBLKbNH9TRISLwJyWFReIH/C07OYl8A', 'v1.4dbdc3614582c4ca.rYE8by6sALXYjgpKsGnkX1p7GDaKeC+Vil8j5tJO5XfRSKSQM3wYAn8i', NULL, NULL, NULL, 1795945246148, 1795945246148, NULL);
INSERT INTO homing.subscriptions VALUES ('01a226ad-adc9-7398-b8cb-b45ee025ac22', 'bp30XRictOfrjlTNwQRTeGVirss5LeebzdGibpdzmiI=', 'http://127.0.0.1:18965/off', '["off.x"]', '[]', 'AND', NULL, 'v1.4dbdc3614582c4ca.epcOSmYBx9TvW8R26kZOC8wQrc1L6eG5EkqAUAi3+1lL4XNdBBORTTnL1gdMqOaB1T6D4pv9w5pSc6fDEKIrucl/moau9HnnI/UumAXA6v2NMg6YVtCEa1j48U2ilw', 'v1.4dbdc3614582c4ca.HbC7Dx9W/TNU7rOla8B4vznhp7WOEG719dttUv0+WQ/JFwbbxGPuDkJr', NULL, NULL, NULL, 1795945246153, 1795945246153, NULL);
INSERT INTO homing.subscriptions VALUES ('01a226ad-add2-727d-891d-5f18bf79845a', 'Z1ijCdu+1Jc7dqa1YCXUIqr2itLEpltb0fuzal4JtmA=', 'http://127.0.0.1:18965/limited', '["lim.x"]', '[]', 'AND', NULL, 'v1.4dbdc3614582c4ca.N2RnJ4dEjRHsCnKF8rfM/CZMNjp4GD9jgNpknAic5GQUkRm91GamKMo76C1a7DGclOooA6aPwnwvuZPT6OYi9/fRKVnTVJQK+ljUh3HaiU51Q/TAtUyIVk14w4utNA', 'v1.4dbdc3614582c4ca.O4R5jcBNA/mTV4MZ3tpgezxbtnBV+qaiKEJPmEmXMSeXEKFfNitxduY5', NULL, 1, NULL, 1795945246162, 1795945246162, NULL);
INSERT INTO homing.subscriptions VALUES ('01a226ad-add9-75bd-84d9-7d6648658bad', 'vagZaJYvsb7iHZomgbjdlQnI1XA7ZQgKEH0w+HxtCuU=', 'http://127.0.0.1:18965/twice', '["twice.x"]', '[]', 'AND', NULL, 'v1.4dbdc3614582c4ca.mTqUaro4n8MHUhDn09QQfrpLz9Q3U2teUMzyoowR6TCM3GwRcnJuNuQDpSiuJs2Ci5ac0kqOfi5RBqH516CafEzM+zDkQLBcF6brQTaSh2QZByiWHrMNbzJ61P96CA', 'v1.4dbdc3614582c4ca.VhRY0L6fFIiUCdOuS8hP17fpGLvlmyhcIBJIoc7WfV57dMn+r8u9gsT8', NULL, NULL, NULL, 1795945246169, 1795945246169, NULL);
INSERT INTO homing.subscriptions VALUES ('01a226ad-addf-739f-a904-31795217c835', 'DA9SvzUoBihy1GGs/EzMes3UNzRyS19tdUp23CKhR2M=', 'http://127.0.0.1:18965/odd-braces/%7Btenant%7D', '["odd.x"]', '[]', 'AND', NULL, 'v1.4dbdc3614582c4ca.BpQpUUleB3SbnaN/D5e6q731tnpbgAjVT1lRH8KvijWLIpAyecFPZ0KKDo93tAcxJ5qGV2rjArm9zNt3E35egqBu0oZ7EVl6++xjYXKt8k3iNZtGTrPa+BbcGg6MKQ', 'v1.4dbdc3614582c4ca.8CCogBeaR1Wfr6FvsdoK3fX93q+q5rHt/iWv796H+u71bP9ZkYAImjjf', NULL, NULL, NULL, 1795945246175, 1795945246175, NULL);
INSERT INTO homing.subscriptions VALUES ('01a226ad-ade5-742e-8ab4-8403efff9e22', 'bTTdlyCMj/FWsHHdHWSXbFoqejDv2xfY/Kx4MvdFl18=', 'http://127.0.0.1:18965/odd-fragment', '["odd.x"]', '[]', 'AND', NULL, 'v1.4dbdc3614582c4ca.JXle1krC6cK1GA5GeBYRttmk6DGZNC9sPIBpa0U+nDbGoReG8s2lDZQJGwH53wMRGu5Q/lNOrrE25JI5HrBv+Hkd2sTO5mdsZvJKbTVMxBYWzIApttNRwwSXFruBGA', 'v1.4dbdc3614582c4ca.4M/3CXLjX22qkNx2gyaKP29wOH7zDbXzb2Pp0wPo4BwVCVgXIvdzm21/', NULL, NULL, NULL, 1795945246181, 1795945246181, NULL);
INSERT INTO homing.subscriptions VALUES ('01a226ad-adef-72f2-b799-04b5c61909be', 'W2RKiOINlJURoS1XyFToSgO7hGNRSirJfKCl9mAyuRA=', 'http://127.0.0.1:18965/odd-topics', '["odd..x","odd.x "]', '[]', 'AND', NULL, 'v1.4dbdc3614582c4ca.cfrtu+MyyeGAUYZSeu3kc4Jaey3q0ccMKPEoFPDDZ7CTMbs+xVbyv1Cp4l8UU0atXKe+e2wRj/9bKe2GMzXBLRwaoEHGsww/XI99tGKGNQfL0gP2pLDEJHuXCpvTLw', 'v1.4dbdc3614582c4ca.TWn5Hq7PRQDFGceLMQm8iTn0j1E7b07p/BihnMoQg9FXeAILzsUFblue', NULL, NULL, NULL, 1795945246191, 1795945246191, NULL);
INSERT INTO homing.subscriptions VALUES ('01a226ad-adf5-717f-bac4-7f304decbf6f', '74GchzE1/YoFMJ/G8grElDzzfjZvgvAP5uSS1Mnkl7I=', 'http://127.0.0.1:18965/odd-filter', '["odd.x"]', '[{"comparison":"ne","fieldName":"$.status","fieldValue":"CUR","state":"newState"}]', 'AND', NULL, 'v1.4dbdc3614582c4ca.KTM4eLt5Sgae2x2Nuvq6lMGbdFSCPh+OxGvPyJf1bASvSIY7y6pK+gtVC5PbZUQ8p3J42Rhp78xnRdMBnBL+BuLHbmdsPR7PgVyKumCYxNXUKmXcAvt6QHaRxPExlw', 'v1.4dbdc3614582c4ca.3VaeGbq1rXoPsizpZYwHFddk5BnGRivVZK3fc+LsEwCxQa3zh22CjFoH', NULL, NULL, NULL, 1795945246197, 1795945246197, NULL);
INSERT INTO homing.subscriptions VALUES ('01a226ad-adfb-77b5-8405-2dc7a7da3797', 'Cve+AqQvKvyteqrrg8hLfBlnhDLb/U5I9yG287FppCk=', 'http://127.0.0.1:18965/odd-headers', '["odd.x"]', '[]', 'AND', NULL, 'v1.4dbdc3614582c4ca.ejx1LWFoYuu+NoycjLGdl3Oh25e/ku5HraI+tNLQTl59mE5BjjsH5s3nuolthhCdz+DIefF+n+Ejksbxu84j1Cx0Bj2msaZ3TAPllqXJr2gweBTPYK9KDU2V7q/tgg', 'v1.4dbdc3614582c4ca.appPRJ/OczXBAELKyeu2wuaXIcq8yPy+lqsV/OVcGPI7fMGIXn4q/Ddp5d9xGIc9gWiHnjkQViZ0MglMV3eCwvO3RfaTOujraGLTQM7zs0SZbwFHFV2VN0YffkhcAvLL0Tyz3sbgA1AdWIqy5RYtuzZWAVJQw0VxyogyzMv8J9F410UBNe/bkDnZ1BxdAQfhClmnaqputUoB', NULL, NULL, NULL, 1795945246203, 1795945246203, NULL);
INSERT INTO homing.subscriptions VALUES ('01a226ad-ae00-72ab-82f4-fc3fc84597e1', '5xurJNx9rr63u7DXRK8auQefcX1cZUJu42AbtbAYGxM=', 'http://127.0.0.1:18965/odd-long?name=%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5', '["long.x"]', '[]', 'AND', NULL, 'v1.4dbdc3614582c4ca.ijLnR3toK3CbSxcP4XOu74C6uyHdl7Hl5dPxUU6ZHHrGj/4C7zQEP5J3Wknv/9ketvD10teHOZrR5E3HE/Xv4d6kZ+VSPrqr/P9KEGLR0DjLqoBQRrhnB3mnY0XfTw', 'v1.4dbdc3614582c4ca.NPRsyQLxo5fbL6b2eEesJeAUV/k5yUJc8imZxnctgFx7eRH0Fv5UbYGk', NULL, NULL, NULL, 1795945246208, 1795945246208, NULL);
INSERT INTO homing.subscriptions VALUES ('01a226ad-ae21-71eb-a1dd-5d85af11c40f', 'h0gaiy4UXZ2P9DD2ydzQL/MrLEDW+4F7hSelsXxFEc4=', 'http://127.0.0.1:18965/rotated', '["rotated.x"]', '[]', 'AND', NULL, 'v1.4dbdc3614582c4ca.dg5Z15fD1JqKeX8z8d2Eim9eMajNq6LqSy+0n/pjxqsmoKtRkCqvLsBnkKNDwNTKWLzA7xppGx7q6XWYhuo+J/Fe4fVMm6iomveqPBOuqGwEvwut/FR1Lfe09IrkSCrp1cBcYByvYLkuWqVL0UI6LHy9WynP/F1yeO2BNMpPuctbDZU1KjH0B6HYheT5aqMgoS/uw1a68Y36FudZYvZbLUUP1vsH41MKpfW9+gucIDv58iwuzKjYY40', 'v1.4dbdc3614582c4ca.4ovMI8LIkDvyhk5wX9XEFUw6STfhMbS4+JXT6qe6kaybbRRFJj18Zp7M', NULL, NULL, NULL, 1795945246241, 1795945246335, NULL);
INSERT INTO homing.subscriptions VALUES ('01a226ad-aeb5-714e-b3ea-30366090d8f7', '8qWol43ZaQzt7rEUsBK3DDOIfX5XvQXmovQbv39upXk=', 'http://127.0.0.1:18965/wf', '["TASK.UPDATE"]', '[]', 'AND', 'v1.4dbdc3614582c4ca.K/1zcScj3u9oPFo2AY58Ff/gZQcGqTbHfxQscPv2iK79WQZSq7uogdOmqbpmvKz4', 'v1.4dbdc3614582c4ca.S4F26jEym5v9R8H+nRIhF2hlHiQGlcrVTjHOsLYJ9UqTBhOV4NMYPjKb', 'v1.4dbdc3614582c4ca.mSIBN8/J6UqjomQaiXbxo0GOxn1fTvHETl4IP3uS/H4d9Q+a/iy9V/fE', NULL, NULL, NULL, 1795945246389, 1795945246389, '{"base64_encoding":false,"obj_id":"5e4a1b","version":"v2"}');

INSERT INTO homing.versions VALUES ('subscriptions', 18);
INSERT INTO homing.versions VALUES ('circuits', 6);

INSERT INTO homing.worker_minutes VALUES (1795945200000, '01a226ad-ac6e-7071-b116-b3000b78bcd6', 47, 21, 12, 0, 0, 66, 7);
INSERT INTO homing.worker_minutes VALUES (1795945260000, '01a226ad-ac6e-7071-b116-b3000b78bcd6', 5, 6, 2, 0, 0, 11, 0);

INSERT INTO homing.workers VALUES ('01a226ad-ac6e-7071-b116-b3000b78bcd6', 'vm', 820, '0.1.0', 1795945245806, 1795945271020, 3, '{"by_url":{"http://127.0.0.1:18965/limited":3},"whole":true}');

ALTER TABLE ONLY homing._sqlx_migrations
    ADD CONSTRAINT _sqlx_migrations_pkey PRIMARY KEY (version);

ALTER TABLE ONLY homing.api_tokens
    ADD CONSTRAINT api_tokens_digest_key UNIQUE (digest);

ALTER TABLE ONLY homing.api_tokens
    ADD CONSTRAINT api_tokens_pkey PRIMARY KEY (name);

ALTER TABLE ONLY homing.attempt_gaps
    ADD CONSTRAINT attempt_gaps_pkey PRIMARY KEY (id);

ALTER TABLE ONLY homing.attempt_rows
    ADD CONSTRAINT attempt_rows_pkey PRIMARY KEY (id);

ALTER TABLE ONLY homing.attempts
    ADD CONSTRAINT attempts_pkey PRIMARY KEY (id);

ALTER TABLE ONLY homing.circuits
    ADD CONSTRAINT circuits_pkey PRIMARY KEY (url);

ALTER TABLE ONLY homing.dues
    ADD CONSTRAINT dues_pkey PRIMARY KEY (wait_ms, slice);

ALTER TABLE ONLY homing.encryption_keys
    ADD CONSTRAINT encryption_keys_pkey PRIMARY KEY (id);

ALTER TABLE ONLY homing.publications
    ADD CONSTRAINT publications_pkey PRIMARY KEY (key);

ALTER TABLE ONLY homing.queues
    ADD CONSTRAINT queues_pkey PRIMARY KEY (name);

ALTER TABLE ONLY homing.source_slots
    ADD CONSTRAINT source_slots_pkey PRIMARY KEY (source, slot);

ALTER TABLE ONLY homing.sources
    ADD CONSTRAINT sources_pkey PRIMARY KEY (name);

ALTER TABLE ONLY homing.subscriptions
    ADD CONSTRAINT subscriptions_fingerprint_key UNIQUE (fingerprint);

ALTER TABLE ONLY homing.subscriptions
    ADD CONSTRAINT subscriptions_pkey PRIMARY KEY (id);

ALTER TABLE ONLY homing.versions
    ADD CONSTRAINT versions_pkey PRIMARY KEY (name);

ALTER TABLE ONLY homing.worker_minutes
    ADD CONSTRAINT worker_minutes_pkey PRIMARY KEY (start_ms, worker);

ALTER TABLE ONLY homing.workers
    ADD CONSTRAINT workers_pkey PRIMARY KEY (id);

CREATE INDEX attempts_by_event ON homing.attempts USING btree (event);

CREATE INDEX attempts_by_subscription ON homing.attempts USING btree (subscription, id);

CREATE INDEX attempts_by_url ON homing.attempts USING btree (url, id);

CREATE INDEX attempts_that_failed ON homing.attempts USING btree (id, class, status) WHERE (class <> 'accepted'::text);

CREATE INDEX circuits_by_state ON homing.circuits USING btree (state, url);

CREATE INDEX publications_by_time ON homing.publications USING btree (published_ms);

CREATE INDEX subscriptions_by_url ON homing.subscriptions USING btree (url, id);

CREATE INDEX subscriptions_in_workfronts_form ON homing.subscriptions USING btree (id) WHERE (workfront IS NOT NULL);

CREATE TRIGGER circuit_inserted AFTER INSERT ON homing.circuits FOR EACH ROW WHEN ((new.state <> 'closed'::text)) EXECUTE FUNCTION homing.raise_version('circuits');

CREATE TRIGGER circuit_removed AFTER DELETE ON homing.circuits FOR EACH ROW WHEN ((old.state <> 'closed'::text)) EXECUTE FUNCTION homing.raise_version('circuits');

CREATE TRIGGER circuit_updated AFTER UPDATE ON homing.circuits FOR EACH ROW WHEN (((old.state <> new.state) OR (old.url <> new.url))) EXECUTE FUNCTION homing.raise_version('circuits');

CREATE TRIGGER circuits_emptied AFTER TRUNCATE ON homing.circuits FOR EACH STATEMENT EXECUTE FUNCTION homing.raise_version('circuits');

CREATE TRIGGER subscription_changed AFTER INSERT OR DELETE OR UPDATE ON homing.subscriptions FOR EACH ROW EXECUTE FUNCTION homing.raise_version('subscriptions');

CREATE TRIGGER subscriptions_emptied AFTER TRUNCATE ON homing.subscriptions FOR EACH STATEMENT EXECUTE FUNCTION homing.raise_version('subscriptions');
