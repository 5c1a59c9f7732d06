//! The library's files, where they find each other.

#[path = "../../../src/format/conversation.rs"]
mod conversation;
#[path = "../../../src/format/moment.rs"]
pub mod moment;
#[path = "../../../src/format/template/mod.rs"]
mod template;
#[path = "../../../src/format/template_request.rs"]
mod template_request;

pub(crate) use conversation::Conversation;
pub(crate) use template::ChatTemplate;
pub(crate) use template_request::{Answer, Request};
