//! Routes: which one a request takes, what its target is, and what its fields say.

mod choice;
mod cookies;
mod paths;
mod values;

pub use choice::routes;
pub use cookies::cookies;
pub use paths::targets;
pub use values::request_fields;

/// A configuration that routes can be added to.
const BASE: &str = r#"
[[listener]]
name = "web"
bind = "127.0.0.1:0"
mode = "http"
pool = "app"
[[pool]]
name = "app"
[[pool.server]]
name = "a"
address = "127.0.0.1:1"
"#;

/// A text as a string of TOML (TOML 1.0, "String").
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
