//! milo's reading of the same bytes.
//!
//! Differs from what is compared: milo takes no content in 205 at all, and looks at no content of HEAD only when told for
//! each message; where that matters it is not asked. Nor is it where a chunk's line ends with an extension's name and
//! white space: milo 0.9.0 looks for a value behind that line then, and subtracts what is larger.

use std::cell::RefCell;

use evenkeel_http1::Method;
use milo_parser::{
    CALLBACK_ACTIVE_ALL, Parser, STATE_BODY_WITH_NO_LENGTH, STATE_ERROR, STATE_FINISH, STATE_REQUEST_LINE,
    STATE_START, STATE_STATUS_LINE, STATE_TUNNEL,
};

use crate::course::{Course, End, Message, is_nothing, path_of};

/// Longest line that it takes, in bytes: longer than any that we take.
const LONGEST_LINE: usize = 1 << 20;

/// What it told of in one call: a sort of event, and the bytes that it is about.
#[derive(Clone, Copy)]
enum Told {
    Start(usize, usize),
    Target(usize, usize),
    Data(usize, usize),
    Complete,
}

thread_local! {
    static TOLD: RefCell<Vec<Told>> = const { RefCell::new(Vec::new()) };
}

fn tell(told: Told) {
    TOLD.with_borrow_mut(|all| all.push(told));
}

/// What is known of the message under way.
#[derive(Default)]
struct Draft {
    start: String,
    content: Vec<u8>,
}

fn parser(is_request: bool) -> Parser {
    let mut parser = Parser::new();
    parser.autodetect = false;
    parser.is_request = is_request;
    parser.max_start_line_length = LONGEST_LINE;
    parser.max_header_length = LONGEST_LINE;
    parser.callbacks.on_method = |_, at, length| tell(Told::Start(at, length));
    parser.callbacks.on_status = |_, at, length| tell(Told::Start(at, length));
    parser.callbacks.on_url = |_, at, length| tell(Told::Target(at, length));
    parser.callbacks.on_data = |_, at, length| tell(Told::Data(at, length));
    parser.callbacks.on_message_complete = |_, _, _| tell(Told::Complete);
    parser.active_callbacks = CALLBACK_ACTIVE_ALL;
    parser
}

/// Lets it read all of `stream`.
fn read(mut parser: Parser, stream: &[u8]) -> Course {
    let mut course = Course::new(End::Clean);
    let mut draft = Draft::default();
    let mut rest = stream;
    loop {
        let taken = parser.parse(rest.as_ptr(), rest.len());
        let told = TOLD.with_borrow_mut(std::mem::take);
        let idle = told.is_empty();
        for told in told {
            let part =
                |at: usize, length: usize| String::from_utf8_lossy(&rest[at..at + length]).into_owned();
            match told {
                Told::Start(at, length) => draft.start = part(at, length),
                Told::Target(at, length) => {
                    draft.start = format!("{} {}", draft.start, path_of(&part(at, length)));
                }
                Told::Data(at, length) => draft.content.extend_from_slice(&rest[at..at + length]),
                Told::Complete => course.messages.push(std::mem::take(&mut draft).message()),
            }
        }
        rest = &rest[taken.min(rest.len())..];
        let ended = matches!(parser.state, STATE_ERROR | STATE_FINISH | STATE_TUNNEL);
        if ended || rest.is_empty() || taken == 0 && idle {
            break;
        }
    }
    course.end = match parser.state {
        STATE_ERROR => End::Refused,
        STATE_FINISH | STATE_TUNNEL => End::Over,
        STATE_BODY_WITH_NO_LENGTH => {
            course.messages.push(draft.message());
            End::Over
        }
        // Line ends behind a message make it wait for the next one's first line, as other bytes do.
        STATE_START | STATE_REQUEST_LINE | STATE_STATUS_LINE if is_nothing(rest) => End::Clean,
        _ => End::Within,
    };
    course
}

impl Draft {
    fn message(self) -> Message {
        Message { start: self.start, content: self.content }
    }
}

/// Whether a line ends with what may be an extension's name without a value, and white space.
fn confuses(stream: &[u8]) -> bool {
    stream.split(|&byte| byte == b'\n').any(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let last = line.rsplit(|&byte| byte == b';').next().unwrap_or_default();
        last.len() < line.len() && matches!(last, [.., b' ' | b'\t']) && !last.contains(&b'=')
    })
}

/// milo as a server.
pub(crate) fn requests(stream: &[u8]) -> Course {
    if is_nothing(stream) {
        return Course::new(End::Clean);
    }
    if confuses(stream) {
        return Course::new(End::Refused);
    }
    read(parser(true), stream)
}

/// milo as a client that asked with `method`.
pub(crate) fn answer(stream: &[u8], method: Method) -> Course {
    if confuses(stream) {
        return Course::new(End::Refused);
    }
    let mut parser = parser(false);
    parser.skip_body = method == Method::Head;
    let mut course = read(parser, stream);
    let interim = |message: &Message| message.start.starts_with('1') && message.start != "101";
    let skipped = course.messages.iter().any(interim) && method == Method::Head;
    course.messages.retain(|message| !interim(message));
    course.messages.truncate(1);
    match course.messages.first() {
        Some(first) if first.start == "205" || skipped => Course::new(End::Refused),
        // What stands behind the one answer is nobody's business here.
        Some(_) => Course { end: End::Over, ..course },
        None if skipped => Course::new(End::Refused),
        // Interim answers, or nothing at all: the answer is still to come.
        None if course.end == End::Clean => Course::new(End::Within),
        None => course,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

    #[test]
    fn line_ends_behind_a_message_are_not_the_beginning_of_another() {
        for (rest, end) in [
            (&b""[..], End::Clean),
            (b"\r\n", End::Clean),
            (b"\r\n\r\n", End::Clean),
            (b"\r", End::Clean),
            (b"\r\nGET", End::Within),
            (b"GET", End::Within),
        ] {
            let course = requests(&[HEAD, b"0\r\n\r\n", rest].concat());
            assert_eq!((course.messages.len(), course.end), (1, end), "{rest:?}");
        }
    }

    #[test]
    fn milo_is_not_asked_of_an_extension_at_which_it_fails() {
        for line in [&b"5;a;05 ; a = 5 ; 5a "[..], b"5;\t\tI\t\t"] {
            let course = requests(&[HEAD, line, b"\r\nhello\r\n0\r\n\r\n"].concat());
            assert_eq!((course.messages.len(), course.end), (0, End::Refused), "{line:?}");
        }
        let course = requests(&[HEAD, b"5;a=b\r\nhello\r\n0\r\n\r\n"].concat());
        assert_eq!((course.messages.len(), course.end), (1, End::Clean));
    }
}
