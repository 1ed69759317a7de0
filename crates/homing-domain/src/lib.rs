//! The rules of homing, and nothing else.
//!
//! Every function here depends only on its arguments: no clock, no randomness, no I/O, no `async`.
//! The types, in the order in which a message meets them:
//!
//! - an [`event`] has a [`topic`] and an id; a [`subscription`] selects events by topic and
//!   [`filter`] (a condition on the body, which is read as [`json`]);
//! - event × subscription = a [`delivery`], which makes one [`attempt`] after another;
//! - an attempt has an [`outcome`] (what the endpoint did), perhaps a [`delivery_control`] (its instruction),
//!   and the [`verdict`] is the decision about it, by the [`schedule`];
//! - a [`record`] is what the attempt log keeps of it, a [`payload`] what it sent and
//!   received, and an [`error_group`] counts those that failed for the same reason;
//! - outcomes add up to a [`tally`], and the [`circuit`] of a URL holds deliveries to an endpoint
//!   that keeps failing;
//! - a [`cloud_event`] is a form in which an event may be sent, beside its own;
//! - a [`signature`] lets the receiver verify the sender; an [`encryption_key`] protects its
//!   secret.
//!
//! A [`source`] is a stream that events are read from; the pool's work, in figures, is its
//! [`activity`], and by the hour its [`history`]; who changed something is in the [`audit`], what was
//! delivered in the [`ledger`]. A [`replay`] sends events of the archive again. How many workers a load
//! needs is a matter of [`scaling`].

pub mod activity;
pub mod any_of;
pub mod api_token;
pub mod attempt;
pub mod audit;
pub mod circuit;
pub mod clock;
pub mod cloud_event;
pub mod delivery;
pub mod delivery_control;
pub mod delivery_state;
pub mod encryption_key;
pub mod error_group;
pub mod event;
pub mod filter;
pub mod history;
pub mod id;
pub mod json;
pub mod ledger;
pub mod outcome;
pub mod payload;
pub mod record;
pub mod replay;
pub mod report;
pub mod scaling;
pub mod schedule;
pub mod settings;
pub mod signature;
pub mod source;
pub mod status_range;
pub mod subscription;
pub mod tally;
pub mod text;
pub mod time;
pub mod topic;
pub mod topic_tree;
pub mod trace;
pub mod url;
pub mod verdict;
