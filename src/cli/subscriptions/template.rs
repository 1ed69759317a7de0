//! The template of a subscription as flags.

use serde_json::{Value, json};

use crate::cli::failure::Failure;
use homing_domain::subscription::Receiver;

#[derive(clap::Args)]
pub(in crate::cli) struct TemplateFields {
    /// Send messages for people: slack, teams, pagerduty or email
    #[arg(long, value_name = "RECEIVER")]
    template: Option<Receiver>,
    /// The sender of mails (email)
    #[arg(long, value_name = "ADDRESS", requires = "template")]
    mail_from: Option<String>,
    /// A recipient of mails (email); may be repeated
    #[arg(long, value_name = "ADDRESS", requires = "template")]
    mail_to: Vec<String>,
}

impl TemplateFields {
    /// The template in the form in which the API takes it.
    pub(super) fn given(self) -> Result<Option<Value>, Failure> {
        let Self { template, mail_from, mail_to } = self;
        let Some(receiver) = template else { return Ok(None) };
        if receiver != Receiver::Email {
            let is_mail = mail_from.is_some() || !mail_to.is_empty();
            let text = "--mail-from and --mail-to go with --template email";
            return if is_mail {
                Err(Failure::Usage(text.to_owned()))
            } else {
                Ok(Some(json!({ "receiver": receiver })))
            };
        }
        Ok(Some(json!({ "receiver": receiver, "from": mail_from, "to": mail_to })))
    }
}
