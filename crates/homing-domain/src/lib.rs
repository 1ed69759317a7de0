//! The rules of homing, and nothing else.
//!
//! Every function here is a function of its arguments: no clock, no chance, no I/O, no `async`.
//! The cast, in the order in which a message meets it:
//!
//! - an [`event`] has a [`topic`] and an id; a [`subscription`] wants events by topic and [`filter`]
//!   (a condition on its body, which is read as [`json`]);
//! - event × subscription = a [`delivery`], which makes one [`attempt`] after another;
//! - an attempt has an [`outcome`] (what the endpoint did), and the [`verdict`] is what we do about
//!   it, by the [`schedule`];
//! - a [`record`] is what is kept of it for people;
//! - outcomes add up to a [`tally`], and the [`circuit`] of a URL spares an endpoint that keeps
//!   failing;
//! - a [`signature`] lets the receiver verify who sent it; an [`encryption_key`] keeps its secret.
//!
//! What is remembered of where events are read from is a [`source`]; what the pool does, in figures, is
//! its [`activity`].

pub mod activity;
pub mod api_token;
pub mod attempt;
pub mod circuit;
pub mod clock;
pub mod delivery;
pub mod encryption_key;
pub mod event;
pub mod filter;
pub mod id;
pub mod json;
pub mod outcome;
pub mod record;
pub mod report;
pub mod schedule;
pub mod settings;
pub mod signature;
pub mod source;
pub mod subscription;
pub mod tally;
pub mod time;
pub mod topic;
pub mod topic_tree;
pub mod trace;
pub mod url;
pub mod verdict;
