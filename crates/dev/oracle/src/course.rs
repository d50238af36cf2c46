//! What a parser made of a stream, and whether two of them agree.

/// A message as a parser saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Method and path with its query and a space between, or the status.
    pub start: String,
    /// The content without chunks.
    pub content: Vec<u8>,
}

/// How a stream ended for a parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Between two messages, with at most line ends left over.
    Clean,
    /// Within a message.
    Within,
    /// With bytes that the parser refuses.
    Refused,
    /// The connection ends, or becomes something else, and the rest is not looked at.
    Over,
}

/// What a parser made of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Course {
    /// The whole messages, in their order.
    pub messages: Vec<Message>,
    /// How it ended behind them.
    pub end: End,
}

/// What we made of a stream, and what we sent on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ours {
    pub(crate) course: Course,
    /// The whole messages as the other side gets them.
    pub(crate) sent: Vec<u8>,
    /// An answer as a client of HTTP/1.0 gets it.
    pub(crate) sent_plain: Vec<u8>,
    /// The data of an answer that was whole and has content.
    pub(crate) data: Option<Vec<u8>>,
}

/// Two readings of the same bytes that must not differ.
#[derive(Debug, thiserror::Error)]
#[error("{who}: {what}\none: {one:?}\nother: {other:?}")]
pub struct Disagreement {
    /// Which comparison.
    pub who: &'static str,
    /// What differs.
    pub what: String,
    /// The one reading.
    pub one: Course,
    /// The other reading.
    pub other: Course,
}

impl Course {
    /// A course in which nothing was seen.
    pub(crate) const fn new(end: End) -> Self {
        Self { messages: Vec::new(), end }
    }

    fn differs<T>(
        &self,
        who: &'static str,
        what: impl Into<String>,
        other: &Self,
    ) -> Result<T, Disagreement> {
        Err(Disagreement { who, what: what.into(), one: self.clone(), other: other.clone() })
    }

    /// Whether `other` frames the stream like this one or refuses it; the messages that both have.
    ///
    /// Either may be stricter and refuse, or end the connection; what it did before must be the same.
    pub(crate) fn agrees(&self, who: &'static str, other: &Self) -> Result<usize, Disagreement> {
        let both = self.messages.len().min(other.messages.len());
        for at in 0..both {
            if self.messages[at] != other.messages[at] {
                return self.differs(who, format!("message {at} differs"), other);
            }
        }
        let goes_on = |course: &Self| matches!(course.end, End::Clean | End::Within);
        if self.messages.len() > both && goes_on(other) || other.messages.len() > both && goes_on(self) {
            return self.differs(who, "one has messages where the other has none", other);
        }
        if self.messages.len() == other.messages.len()
            && goes_on(self)
            && goes_on(other)
            && self.end != other.end
        {
            return self.differs(who, "one is within a message where the other is between two", other);
        }
        Ok(both)
    }
}

/// Both readings must be alike in everything.
pub(crate) fn same(who: &'static str, one: &Ours, other: &Ours) -> Result<(), Disagreement> {
    if one.course != other.course {
        return one.course.differs(who, "the courses differ", &other.course);
    }
    if one.sent != other.sent || one.sent_plain != other.sent_plain {
        return one.course.differs(who, "what is sent differs", &other.course);
    }
    Ok(())
}

/// `again` is our reading of what `one` sent: the same messages, but for targets that were written in another form.
pub(crate) fn sent_again(one: &Ours, again: &Ours) -> Result<(), Disagreement> {
    if one.course.messages.is_empty() {
        // Nothing whole was sent on.
        return Ok(());
    }
    let alike = |(one, again): (&Message, &Message)| {
        let first = |message: &Message| message.start.split(' ').next().map(str::to_owned);
        one.content == again.content && first(one) == first(again)
    };
    let pairs = one.course.messages.iter().zip(&again.course.messages);
    let whole = one.course.messages.len() == again.course.messages.len() && pairs.into_iter().all(alike);
    if !whole || !matches!(again.course.end, End::Clean | End::Over) {
        return one.course.differs("what we send", "we take it differently", &again.course);
    }
    if again.sent.len() < again.course.messages.len() {
        return one.course.differs("what we send", "nothing is sent on", &again.course);
    }
    Ok(())
}

/// The plain form of an answer has the same data.
pub(crate) fn same_data(plain: &Ours, data: &[u8]) -> Result<(), Disagreement> {
    match plain.course.messages.last() {
        Some(last) if last.content == data => Ok(()),
        Some(_) | None => plain.course.differs("without chunks", "the data differs", &plain.course),
    }
}

/// Path and query of a target, in whatever form it was written: hyper keeps absolute-form only in its own spelling.
pub(crate) fn path_of(target: &str) -> String {
    let Some((_, rest)) = target.split_once("://").filter(|(scheme, _)| !scheme.contains('/')) else {
        return target.to_owned();
    };
    let path = rest.find(['/', '?']).map_or("", |at| &rest[at..]);
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

/// Whether nothing but line ends is left.
pub(crate) fn is_nothing(rest: &[u8]) -> bool {
    rest.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(messages: &[&str], end: End) -> Course {
        let message = |start: &&str| Message { start: (*start).to_owned(), content: Vec::new() };
        Course { messages: messages.iter().map(message).collect(), end }
    }

    #[test]
    fn the_path_of_a_target_is_the_same_in_every_form() {
        for (target, path) in [
            ("/a?b", "/a?b"),
            ("*", "*"),
            ("/a?b=http://c", "/a?b=http://c"),
            ("http://a/b?c", "/b?c"),
            ("HTTP://a?c", "/?c"),
            ("http://a", "/"),
        ] {
            assert_eq!(path_of(target), path, "{target}");
        }
    }

    #[test]
    fn courses_agree_unless_one_goes_on_differently() {
        let one = course(&["GET /"], End::Clean);
        for (other, agrees) in [
            (course(&["GET /"], End::Clean), true),
            (course(&[], End::Refused), true),
            (course(&["GET /"], End::Refused), true),
            (course(&["GET /"], End::Over), true),
            (course(&["GET /b"], End::Clean), false),
            (course(&["GET /"], End::Within), false),
            (course(&[], End::Within), false),
            (course(&["GET /", "GET /b"], End::Clean), false),
        ] {
            assert_eq!(one.agrees("test", &other).is_ok(), agrees, "{other:?}");
        }
    }
}
