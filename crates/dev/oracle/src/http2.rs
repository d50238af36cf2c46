//! HTTP/2: messages as the text that they become, and what is a flood.

mod floods;
mod messages;

pub use floods::http2_floods;
pub use messages::http2_messages;
