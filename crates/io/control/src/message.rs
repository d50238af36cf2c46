//! What is said over the sockets; the serde form is the format.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A request to the data plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ProxyRequest {
    /// Check this text, keep it as the configuration file and take over.
    Apply {
        /// The whole configuration.
        text: String,
    },
    /// Read the configuration file again and take over.
    Reload {},
    /// Open the files of logs anew, after they were moved away.
    ReopenLogs {},
    /// Tell what runs, as the page `/status` does.
    Status {},
    /// Let a server finish what it has and give it nothing more.
    Drain {
        /// Its pool's name.
        pool: String,
        /// Its name.
        server: String,
    },
    /// Take a server into service again.
    Resume {
        /// Its pool's name.
        pool: String,
        /// Its name.
        server: String,
    },
    /// Give a server another share.
    Weight {
        /// Its pool's name.
        pool: String,
        /// Its name.
        server: String,
        /// 1 to 256; `null` for what the file says.
        weight: Option<u64>,
    },
}

/// A request to the update agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AgentRequest {
    /// Tell what runs, what is staged and what was last decided.
    Status {},
    /// Tell the health gate's verdict as soon as it is known.
    Gate {},
    /// Let a release that was rolled back be tried again.
    Clear {
        /// The release.
        version: String,
    },
}

/// A daemon's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// It is done; the object says more where there is more to say.
    Done(Map<String, Value>),
    /// It was refused and nothing changed.
    Refused {
        /// Why: sentences with thing, value and remedy.
        errors: Vec<String>,
    },
}

impl Answer {
    /// Done, and nothing more to say.
    #[must_use]
    pub fn done() -> Self {
        Self::Done(Map::new())
    }

    /// Done, with what `details` serializes to.
    ///
    /// # Errors
    /// When that is not a JSON object.
    pub fn done_with<T: Serialize>(details: &T) -> Result<Self, serde_json::Error> {
        serde_json::from_value(serde_json::to_value(details)?).map(Self::Done)
    }

    /// Refused for one reason.
    #[must_use]
    pub fn refused(error: impl std::fmt::Display) -> Self {
        Self::Refused { errors: vec![error.to_string()] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_the_form_that_the_protocol_page_shows() {
        let form = |value: &Value| value.to_string();
        let json = |text: &str| text.parse::<Value>().map(|value| form(&value)).unwrap();
        for (written, shown) in [
            (serde_json::to_value(ProxyRequest::Apply { text: "a\n".into() }), r#"{"apply":{"text":"a\n"}}"#),
            (serde_json::to_value(ProxyRequest::Reload {}), r#"{"reload":{}}"#),
            (serde_json::to_value(ProxyRequest::Status {}), r#"{"status":{}}"#),
            (
                serde_json::to_value(ProxyRequest::Weight {
                    pool: "p".into(),
                    server: "s".into(),
                    weight: Some(7),
                }),
                r#"{"weight":{"pool":"p","server":"s","weight":7}}"#,
            ),
            (serde_json::to_value(AgentRequest::Status {}), r#"{"status":{}}"#),
            (serde_json::to_value(AgentRequest::Gate {}), r#"{"gate":{}}"#),
            (serde_json::to_value(Answer::done()), r#"{"done":{}}"#),
            (serde_json::to_value(Answer::refused("no")), r#"{"refused":{"errors":["no"]}}"#),
        ] {
            assert_eq!(form(&written.unwrap()), json(shown));
        }
    }

    #[test]
    fn what_the_protocol_does_not_know_is_refused() {
        for text in [r#"{"reload":{"now":true}}"#, r#"{"stop":{}}"#, r#"{"apply":{}}"#, "{}", "1", ""] {
            assert!(serde_json::from_str::<ProxyRequest>(text).is_err(), "{text}");
        }
    }
}
