//! Any secret is read or refused; every secret that is read signs, and is shown as it was written.
//!
//! Data: a secret, a line break, a body.

use homing_domain::{
    id::{DeliveryId, EventId, SubscriptionId},
    signature::{SignedContent, SigningSecret, signature_header},
    time::UnixMillis,
};

/// Signs a body with one secret, and with two.
pub(crate) fn run(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let (Some(secret), Some(body)) = (parts.next(), parts.next()) else { return };
    let Ok(secret) = std::str::from_utf8(secret) else { return };
    let Ok(secret) = SigningSecret::try_from(secret.to_owned()) else { return };
    let again = SigningSecret::try_from(secret.reveal()).expect("what was written is read");
    assert!(again == secret);
    let event = EventId::from(uuid::Uuid::nil());
    let id = DeliveryId::of(&event, SubscriptionId::new(uuid::Uuid::nil()));
    let content = SignedContent { id, sent: UnixMillis::new(0), body };
    let one = signature_header(std::slice::from_ref(&secret), &content).expect("a signature");
    let two = signature_header(&[secret, again], &content).expect("two signatures");
    assert!(one.starts_with("v1,") || one.starts_with("v1a,"));
    assert_eq!(two, format!("{one} {one}"));
}
