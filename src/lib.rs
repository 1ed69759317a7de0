//! homing: durable webhook delivery on RabbitMQ.
pub mod domain;

pub mod clock;
pub mod report;

pub mod config;

pub mod broker;
