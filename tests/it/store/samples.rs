//! Subscriptions to store.

use std::{num::NonZeroU32, time::Duration};

use homing_domain::{
    clock,
    filter::{Connector, FilterSet},
    id::SubscriptionId,
    signature::{SignatureScheme, SigningSecret},
    subscription::{
        AuthToken, Authentication, BasicCredentials, ClientCertificate, ClientCertificatePem,
        Consent, Draft, EventFormat, OAuth2Credentials, Receiver, Subscription, SubscriptionSpec,
        Template, TokenEndpointAuthMethod, Verification, VerificationMethod, Version,
        WorkfrontForm,
    },
    time::UnixMillis,
    url::EndpointUrl,
};
use homing_store::{HeldFor, Page, Store, StoreError};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::Kept;

/// With or without a consent, and a rate that it allows.
fn verification(url: &EndpointUrl, (has_consent, rate): (bool, Option<u32>)) -> Verification {
    let method = VerificationMethod::Handshake;
    let rate = rate.and_then(NonZeroU32::new);
    let consent = has_consent.then(|| Consent::new(method, url, UnixMillis::new(7), rate));
    Verification { method, consent }
}

/// A subscription that differs from those for other paths in nothing but its URL.
pub(super) fn subscription(path: impl std::fmt::Display) -> Subscription {
    let draft = json!({"url": format!("https://example.com/{path}"), "topics": ["order.*"]});
    let spec = serde_json::from_value::<Draft>(draft)
        .map_err(|error| error.to_string())
        .and_then(|draft| draft.build(&[]).map_err(|error| error.to_string()))
        .expect("a draft without a mistake");
    let now = clock::now();
    Subscription { id: SubscriptionId::new(clock::new_id()), spec, created: now, updated: now }
}

/// The deliveries that were held for these subscriptions, which have one URL.
pub(super) fn held_for(subscriptions: impl IntoIterator<Item = SubscriptionId>) -> HeldFor {
    let url = "https://example.com/held".parse().expect("a URL");
    HeldFor { url, subscriptions: subscriptions.into_iter().collect() }
}

pub(super) fn ids(subscriptions: &[Subscription]) -> Vec<SubscriptionId> {
    subscriptions.iter().map(|one| one.id).collect()
}

pub(super) async fn insert_all(store: &dyn Store, subscriptions: &[Subscription]) -> Kept {
    for one in subscriptions {
        store.insert_subscription(one).await?;
    }
    Ok(())
}

pub(super) async fn all_pages(
    store: &dyn Store,
    limit: u32,
) -> Result<Vec<SubscriptionId>, StoreError> {
    let mut found = Vec::new();
    let mut page = Page { after: None, limit };
    loop {
        let listing = store.subscriptions(page).await?;
        found.extend(ids(&listing.subscriptions));
        match listing.next {
            Some(next) => page.after = Some(next),
            None => return Ok(found),
        }
    }
}

/// Any filters that homing takes, with values that JSON could spoil.
fn filters() -> impl Strategy<Value = FilterSet> {
    let value = prop_oneof![
        any::<String>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        any::<String>().prop_map(|key| json!({key: [null, {"x": []}]})),
    ];
    let filter = (".{1,12}", value, "eq|ne|changed", "newState|oldState").prop_map(
        |(name, value, comparison, state)| {
            json!({"fieldName": name, "fieldValue": value, "comparison": comparison, "state": state})
        },
    );
    let group = (prop::collection::vec(filter.clone(), 2..=5), "AND|OR").prop_map(
        |(filters, connector)| json!({"type": "group", "connector": connector, "filters": filters}),
    );
    let items = prop::collection::vec(prop_oneof![filter, group], 0..6);
    let connector = prop_oneof![Just(Connector::And), Just(Connector::Or)];
    (items, connector).prop_filter_map("filters that homing takes", |(items, connector)| {
        FilterSet::from_json(&items, connector).ok()
    })
}

fn form() -> impl Strategy<Value = WorkfrontForm> {
    let version = prop_oneof![Just(Version::V1), Just(Version::V2)];
    let updated = prop::option::of(any::<i64>().prop_map(UnixMillis::new));
    (prop::option::of("\\PC{1,40}"), version, any::<bool>(), updated).prop_map(
        |(obj_id, version, base64_encoding, version_updated)| WorkfrontForm {
            obj_id,
            version,
            base64_encoding,
            version_updated,
        },
    )
}

/// It expires at the beginning of 2030.
pub(super) fn client_certificate() -> ClientCertificate {
    const SAMPLE: &str = include_str!(
        "../../../crates/homing-domain/src/subscription/client_certificate_sample.pem"
    );
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
        -----END PRIVATE KEY-----\n";
    let (certificate, key) = (SAMPLE.to_owned(), KEY.to_owned());
    ClientCertificate::new(ClientCertificatePem { certificate, key }).expect("a certificate")
}

fn authentication() -> impl Strategy<Value = Authentication> {
    let basic = ("[^:\\pC]{1,20}", "\\PC{0,40}").prop_map(|(username, password)| {
        Authentication::Basic(BasicCredentials { username, password })
    });
    let method = prop_oneof![
        Just(TokenEndpointAuthMethod::ClientSecretBasic),
        Just(TokenEndpointAuthMethod::ClientSecretPost)
    ];
    let audience = prop::option::of("\\PC{1,20}");
    let further = (prop::option::of("[!#-\\[\\]-~]{1,20}"), audience, method);
    let oauth2 = ("https://auth\\.example/[a-z]{0,9}", "\\PC{1,40}", "\\PC{5,40}", further);
    let oauth2 = oauth2.prop_map(|(token_url, client_id, client_secret, further)| {
        let (scope, audience, token_endpoint_auth_method) = further;
        Authentication::OAuth2(OAuth2Credentials {
            token_url,
            client_id,
            client_secret,
            scope,
            audience,
            token_endpoint_auth_method,
        })
    });
    prop_oneof![basic, oauth2]
}

fn template() -> impl Strategy<Value = Template> {
    let address = "[a-z]{1,9}@example\\.com";
    let mail = (address, prop::collection::vec(address, 1..4));
    let mail = mail.prop_map(|(from, to)| Template {
        from: Some(from),
        to,
        ..Template::new(Receiver::Email)
    });
    let other =
        prop_oneof![Just(Receiver::Slack), Just(Receiver::Teams), Just(Receiver::PagerDuty)];
    prop_oneof![mail, other.prop_map(Template::new)]
}

/// Any terms, from which no settings know the schedule.
pub(super) fn spec() -> impl Strategy<Value = SubscriptionSpec> {
    let secret = prop::collection::vec(any::<u8>(), 24..=64)
        .prop_map(|key| SigningSecret::from_bytes(key).expect("24 to 64 bytes"));
    let pair = any::<[u8; 32]>()
        .prop_map(|key| SigningSecret::new(SignatureScheme::V1a, key).expect("32 bytes"));
    let secret = prop_oneof![secret, pair];
    let token = "\\PC{1,254}".prop_map(|text| AuthToken::try_from(text).expect("no control"));
    (
        "https://example\\.com/[a-z%?=&ä ]{0,40}",
        prop::collection::vec("[a-zé]{1,5}(\\.([A-Z]{1,5}|\\*|#)){0,3}", 1..5),
        filters(),
        prop::option::of(token),
        prop::collection::vec(secret, 0..3),
        prop::collection::btree_map("[a-z]{1,8}", "\\PC{0,20}", 0..4),
        prop::option::of("[a-z]{1,8}"),
        (
            prop::option::of(any::<String>()),
            prop::option::of(form()),
            prop::option::of(authentication()),
            prop::option::of(Just(client_certificate())),
            prop::sample::select(EventFormat::ALL.to_vec()),
            prop::option::of((prop::bool::ANY, prop::option::of(1_u32..))),
            prop::option::of(any::<String>()),
            prop::collection::btree_map("[a-z]{1,8}", any::<String>(), 0..3),
            prop::option::of(template()),
        ),
    )
        .prop_map(|(url, topics, filters, auth_token, secrets, headers, schedule, rest)| {
            let url: EndpointUrl = url.parse().expect("a URL");
            SubscriptionSpec {
                verification: rest.5.map(|given| verification(&url, given)),
                rate_limit: NonZeroU32::new(u32::from(headers.is_empty()) * 7),
                deadline: (!headers.is_empty()).then(|| Duration::from_millis(30_500)),
                max_concurrency: NonZeroU32::new(u32::from(headers.is_empty()) * 9),
                url,
                topics: topics.iter().map(|text| text.parse().expect("a pattern")).collect(),
                filters,
                authentication: rest.2.filter(|_| auth_token.is_none()),
                auth_token,
                secrets,
                headers,
                schedule,
                description: rest.0,
                format: match (&rest.1, &rest.8) {
                    (None, None) => rest.4,
                    _ => EventFormat::Native,
                },
                owner: rest.6,
                labels: rest.7,
                template: rest.8.filter(|_| rest.1.is_none()),
                workfront: rest.1,
                client_certificate: rest.3,
            }
        })
}
