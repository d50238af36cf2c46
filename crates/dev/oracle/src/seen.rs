//! What a judgement saw, and how its input is cut into the parts that it needs.

/// Whether the parser took the input, so that a test over a corpus knows that something was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It took it, or the part of it that matters.
    Taken,
    /// It refused it, or waits for more.
    Refused,
}

impl Seen {
    pub(crate) fn when(taken: bool) -> Self {
        if taken { Self::Taken } else { Self::Refused }
    }
}

/// What stands between the parts of an input: no byte of UTF-8, and one that parsers treat like any other above ASCII.
const MARK: u8 = 0xff;

/// The parts of an input, in order; empty ones when it has no more.
pub(crate) struct Parts<'a>(std::slice::Split<'a, u8, fn(&u8) -> bool>);

impl<'a> Parts<'a> {
    pub(crate) fn of(input: &'a [u8]) -> Self {
        Self(input.split(|&byte| byte == MARK))
    }

    /// The next part.
    pub(crate) fn part(&mut self) -> &'a [u8] {
        self.0.next().unwrap_or_default()
    }

    /// The next part as a byte that chooses between cases.
    pub(crate) fn choice(&mut self) -> u8 {
        self.part().first().copied().unwrap_or_default()
    }

    /// The next part as text; what is no UTF-8 is shown as such.
    pub(crate) fn text(&mut self) -> String {
        String::from_utf8_lossy(self.part()).into_owned()
    }

    /// All other parts.
    pub(crate) fn rest(self) -> Vec<&'a [u8]> {
        self.0.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_cut_at_each_mark_and_has_empty_parts_behind_its_end() {
        let mut parts = Parts::of(b"a\xffbc\xff\xffd");
        assert_eq!((parts.choice(), parts.part(), parts.text()), (b'a', &b"bc"[..], String::new()));
        assert_eq!(parts.rest(), [&b"d"[..]]);
        let mut over = Parts::of(b"");
        assert_eq!((over.part(), over.part(), over.choice()), (&b""[..], &b""[..], 0));
    }
}
