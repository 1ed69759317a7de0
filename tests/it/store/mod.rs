//! The promises of every store, whatever its backend: written once, run for each.

use std::{error::Error, sync::Arc};

use homing_domain::encryption_key::EncryptionKey;
use homing_store::{Store, StoreError, settings::StoreSettings};
use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use crate::support::{database::Database, eventually};

mod activity;
mod attempts;
mod audit;
mod changes;
mod circuit_rule;
mod circuits;
mod content;
mod deliveries;
mod encryption;
mod errors;
mod held;
mod ledger;
mod history;
mod listing;
mod lost_server;
mod many_writers;
mod oauth2_tokens;
mod payloads;
mod parked;
mod parked_claims;
mod parked_intake;
mod parked_search;
mod processes;
mod publications;
mod replays;
mod samples;
mod schema;
mod search;
mod shared_databases;
mod sources;
mod workfront;

type Kept = Result<(), Box<dyn Error>>;

/// Every promise as a test for every backend; a backend is the name of a function that makes an
/// empty [`Place`].
macro_rules! conformance {
    ($($backend:ident),+) => { $(promises! { $backend:
        content: every_field_is_read_back_as_it_was_written,
        content: certificates_are_found_before_they_expire,
        content: duplicates_are_refused_and_name_the_one_that_exists,
        content: an_update_replaces_the_spec_and_keeps_the_creation,
        content: an_update_to_a_duplicate_is_refused,
        content: what_is_missing_is_reported_as_missing,
        content: queues_are_remembered_once_and_forgotten,
        changes: what_has_changed_is_listed_and_nothing_else,
        changes: what_is_too_far_away_has_to_be_read_as_a_whole,
        changes: what_an_operator_changes_is_listed,
        changes: a_new_column_is_no_end_of_reading,
        changes: what_cannot_be_read_back_is_not_written,
        changes: one_that_cannot_be_read_can_be_mended,
        changes: quotas_are_kept_and_named,
        changes: totals_that_have_drifted_are_counted_anew,
        processes: changes_at_the_same_time_do_not_undo_each_other,
        encryption: a_store_is_not_opened_without_its_keys,
        encryption: after_a_rotation_only_the_new_key_is_needed,
        encryption: a_process_that_still_writes_with_an_old_key_is_not_locked_out,
        encryption: after_a_rotation_payloads_need_only_the_new_key,
        encryption: secrets_keep_their_end,
        oauth2_tokens: one_worker_asks_for_a_token_and_the_others_read_it,
        oauth2_tokens: a_claim_of_a_worker_that_died_ends,
        oauth2_tokens: a_token_request_that_failed_is_waited_out_by_all,
        oauth2_tokens: a_token_goes_with_its_last_subscription,
        oauth2_tokens: a_rotation_of_keys_has_tokens_asked_for_anew,
        encryption: api_tokens_are_added_once_listed_and_removed,
        listing: the_limit_of_a_page_is_bounded,
        listing: pages_are_complete_and_in_order_while_others_write,
        listing: everything_is_read_over_several_batches,
        listing: the_version_rises_with_every_change,
        listing: the_version_stays_when_nothing_changes,
        listing: a_snapshot_agrees_with_its_version,
        processes: one_of_many_concurrent_duplicates_is_taken,
        processes: two_that_write_at_once_lose_nothing,
        processes: a_store_that_many_open_at_once_is_one_store,
        processes: everything_survives_reopening,
        processes: a_closed_store_says_so,
        schema: a_newer_schema_is_refused_with_both_versions,
        schema: a_schema_of_another_history_is_refused,
        schema: columns_that_a_newer_version_adds_are_not_read,
        schema: a_row_that_cannot_be_read_is_named_and_harms_no_other,
        schema: a_circuit_that_cannot_be_read_is_named_and_can_be_replaced,
        schema: only_rows_that_can_be_named_get_in,
        schema: what_an_operator_changes_raises_the_version,
        circuit_rule: a_circuit_lives_by_the_rule_alone,
        many_writers: tallies_of_many_workers_add_up,
        many_writers: writers_do_not_block_each_other,
        circuits: a_url_that_comes_twice_is_counted_twice,
        many_writers: one_of_many_merges_opens_the_circuit,
        many_writers: of_twenty_that_claim_a_probe_one_wins,
        circuits: an_operator_freezes_and_frees_what_was_never_called,
        circuits: circuits_are_listed_by_state_and_page,
        circuits: many_open_circuits_are_read_over_several_batches,
        circuits: only_a_change_of_state_raises_the_version,
        circuits: closed_circuits_without_changes_are_forgotten,
        circuits: circuits_are_listed_in_every_order,
        circuits: the_life_of_a_circuit_is_kept_and_bounded,
        circuits: circuits_survive_reopening,
        search: a_part_of_a_text_finds_subscriptions_and_topics,
        search: subscriptions_are_listed_in_every_order,
        search: the_beginning_of_an_id_finds_events,
        attempts: every_field_of_a_record_is_read_back,
        attempts: a_batch_that_is_written_again_is_there_once,
        attempts: a_hold_has_one_row_until_it_ends,
        attempts: every_filter_finds_what_it_means_newest_first,
        attempts: gaps_are_listed_where_they_touch_the_time_asked_for,
        attempts: what_is_too_old_is_forgotten_in_steps,
        attempts: what_is_too_much_is_forgotten_oldest_first_by_any_worker,
        attempts: gaps_are_bounded_the_newest_stay,
        attempts: records_of_many_writers_add_up,
        deliveries: of_each_delivery_the_last_record_counts,
        deliveries: a_wait_for_its_turn_has_one_row_until_it_ends,
        deliveries: what_is_held_again_is_listed_as_held,
        deliveries: an_event_that_was_parked_is_listed_until_it_was_replayed,
        deliveries: a_search_without_an_index_goes_on_page_by_page,
        deliveries: what_is_behind_the_end_of_a_page_is_on_the_next,
        deliveries: what_is_parked_still_is_found_by_last_records,
        deliveries: what_an_earlier_version_records_ends_the_state_before,
        audit: every_change_of_the_store_is_on_record_with_its_actor,
        audit: what_is_not_changed_is_not_on_record,
        audit: a_rotation_that_leaves_secrets_is_on_record_as_failed,
        audit: filters_and_pages_find_each_record_once,
        audit: old_and_excess_records_are_forgotten,
        audit: each_event_about_a_change_is_claimed_by_one,
        audit: a_change_elsewhere_is_begun_and_ended,
        ledger: parts_of_many_workers_add_up_and_a_report_counts_once,
        ledger: an_hour_is_read_page_by_page,
        ledger: an_hour_that_is_left_open_is_not_provable,
        ledger: hours_of_a_silent_worker_are_not_provable_for_a_day,
        ledger: hours_after_the_end_of_a_worker_are_not_in_doubt,
        ledger: an_end_that_is_found_late_puts_no_more_hours_in_doubt,
        ledger: hours_of_workers_that_do_not_count_are_not_provable,
        ledger: old_and_excess_hours_are_forgotten_as_a_whole,
        ledger: events_of_an_hour_are_claimed_by_one,
        payloads: payloads_are_read_back_and_bodies_kept_once,
        payloads: of_too_many_payloads_the_oldest_go_first,
        payloads: payloads_of_many_writers_add_up,
        errors: a_failed_attempt_counts_once_by_what_failed,
        errors: old_errors_are_forgotten_and_their_number_is_bounded,
        errors: the_errors_of_one_url_are_bounded,
        replays: a_replay_is_claimed_by_one_and_goes_on_where_it_was,
        replays: a_replay_whose_worker_died_is_claimed_after_a_while,
        replays: a_replay_is_stopped_and_resumed_and_on_record,
        replays: replays_are_bounded_and_those_of_others_stay_theirs,
        publications: a_publication_is_known_by_its_key_and_stays_as_it_was,
        publications: publications_are_forgotten_after_a_day,
        publications: of_too_many_publications_the_oldest_are_forgotten,
        publications: subscriptions_in_workfronts_form_are_counted_and_paged,
        workfront: in_workfronts_form_tokens_make_different_subscriptions,
        workfront: what_is_the_same_is_known_across_a_rotation,
        workfront: one_of_an_earlier_version_is_compared_too,
        sources: a_source_without_changes_is_read,
        sources: the_status_of_a_source_survives_reopening,
        sources: of_twenty_that_take_a_reset_one_gets_it,
        sources: slots_are_kept_as_last_reported,
        held: a_slot_belongs_to_one_url_and_a_url_has_one_slot,
        held: a_slot_rests_after_it_was_given_back_and_goes_to_another,
        held: of_many_that_take_slots_each_url_gets_one,
        history: a_batch_of_history_that_is_sent_again_counts_once,
        history: history_of_many_workers_adds_up,
        history: topics_beyond_the_limit_count_as_others,
        history: old_history_is_forgotten_and_the_oldest_of_too_much,
        history: more_is_forgotten_than_one_transaction_deletes,
        history: figures_that_cannot_be_read_are_counted_and_replaced,
        history: history_knows_what_it_lacks,
        parked: everything_of_a_delivery_is_read_back,
        parked_search: every_condition_selects_what_it_means,
        parked: pages_are_complete_in_either_order,
        parked_search: a_text_is_searched_in_all_values_or_refused,
        parked: what_is_added_later_is_no_part_of_an_action,
        parked_intake: a_message_that_comes_again_is_there_once,
        parked_intake: the_same_batch_twice_is_there_once,
        parked_intake: what_another_intake_added_is_not_forgotten,
        parked_intake: equal_messages_are_all_kept,
        parked_intake: a_key_that_a_message_needs_cannot_be_deleted,
        parked_intake: messages_without_an_id_are_never_taken_for_another,
        parked_claims: what_is_claimed_is_counted_with_its_end,
        parked_claims: many_are_counted_in_steps,
        parked_intake: a_key_that_a_message_needs_is_kept,
        parked_search: conditions_of_thousands_of_values_are_met,
        parked: no_more_is_added_than_the_bounds_say,
        parked: a_message_lasts_as_long_as_one_of_its_deliveries,
        parked_claims: of_many_that_claim_a_delivery_one_gets_it,
        parked_claims: a_claim_ends_by_itself,
        parked: messages_are_encrypted_anew_with_a_new_key,
        activity: a_report_that_is_sent_again_counts_once,
        activity: requests_of_workers_that_are_alive_add_up,
        activity: figures_of_many_workers_add_up_by_the_minute,
        activity: the_next_due_of_each_wait_is_known,
        activity: old_figures_are_forgotten_by_any_worker,
        activity: circuits_are_counted_by_state,
        activity: costly_filters_are_known_until_they_are_changed,
        listing: subscriptions_are_found_by_their_url,
    })+ };
}

macro_rules! promises {
    ($backend:ident: $($about:ident: $promise:ident),+ $(,)?) => {
        mod $backend {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() -> super::Kept {
                super::$about::$promise(super::$backend().await?).await
            })+
        }
    };
}

conformance!(sqlite, postgres);

/// Where a store can be opened, by as many handles as a test likes. Two handles share nothing but
/// the place, as two processes do. What it holds is deleted when it is dropped.
struct Place {
    settings: StoreSettings,
    held_by: HeldBy,
}

enum HeldBy {
    Folder(TempDir),
    Database(Database),
}

impl Place {
    fn new(url: String, held_by: HeldBy) -> Self {
        Self { settings: settings(url), held_by }
    }

    /// Opens a handle. On a busy machine, connecting may take longer than the store waits for it.
    async fn open(&self) -> Result<Arc<dyn Store>, StoreError> {
        eventually(async || match Box::pin(homing_store::open(&self.settings)).await {
            Err(late @ StoreError::TimedOut { step: "connecting", .. }) => Err(late),
            opened => Ok(opened),
        })
        .await
    }

    /// Changes the database as an operator does with its shell.
    async fn shell(&self, sql: &'static str) -> Kept {
        match &self.held_by {
            HeldBy::Folder(folder) => {
                let file = SqliteConnectOptions::new().filename(folder.path().join("homing.db"));
                let mut connection = file.connect().await?;
                sqlx::raw_sql(sql).execute(&mut connection).await?;
                connection.close().await?;
            }
            HeldBy::Database(database) => database.shell(sql).await?,
        }
        Ok(())
    }
}

impl Place {
    /// A number that the database finds by itself.
    async fn number(&self, sql: &'static str) -> Result<i64, Box<dyn Error>> {
        Ok(match &self.held_by {
            HeldBy::Folder(folder) => {
                let file = SqliteConnectOptions::new().filename(folder.path().join("homing.db"));
                let mut connection = file.connect().await?;
                let number = sqlx::query_scalar(sql).fetch_one(&mut connection).await?;
                connection.close().await?;
                number
            }
            HeldBy::Database(database) => database.number(sql).await?,
        })
    }
}

/// Of a store that has its keys from the settings.
fn settings(url: impl Into<String>) -> StoreSettings {
    let encryption_keys = vec![EncryptionKey::from_bytes([7; 32]).reveal()];
    StoreSettings {
        url: url.into(),
        max_connections: 8,
        encryption_keys,
        encryption_key_file: String::new(),
        max_subscriptions: 10_000,
        max_filter_bytes: 65_536,
        max_filter_bytes_total: 16_777_216,
    }
}

async fn sqlite() -> Result<Place, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite:{}", folder.path().join("homing.db").display());
    Ok(Place::new(url, HeldBy::Folder(folder)))
}

async fn postgres() -> Result<Place, Box<dyn Error>> {
    let database = Database::new().await;
    Ok(Place::new(database.url(), HeldBy::Database(database)))
}
