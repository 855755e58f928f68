//! Server-sent events, read as they come.

/// The longest line that is kept, in bytes: a longer one is cut, so that no peer can fill the memory.
const LINE_BYTES_MAX: usize = 1 << 20;

/// One message of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: Option<String>,
    /// Empty: the default.
    pub(crate) event: String,
    pub(crate) data: String,
}

/// Makes messages of bytes, however they are cut.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    line: Vec<u8>,
    message: Message,
}

impl Parser {
    /// The messages that end within `bytes`.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<Message> {
        let mut out = Vec::new();
        for byte in bytes {
            if *byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                out.extend(self.end_line(&line));
            } else if self.line.len() < LINE_BYTES_MAX {
                self.line.push(*byte);
            }
        }
        out
    }

    fn end_line(&mut self, line: &[u8]) -> Option<Message> {
        let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
        if line.is_empty() {
            let message = std::mem::take(&mut self.message);
            // An id without data is no event, but says where a reader resumes.
            return (!message.data.is_empty() || message.id.is_some()).then_some(message);
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.message.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.message.event),
            "data" => {
                if !self.message.data.is_empty() {
                    self.message.data.push('\n');
                }
                self.message.data.push_str(value);
            }
            // A comment, or a field that we do not use.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_however_the_bytes_are_cut() {
        let stream = ": hello\n\nid: 16\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\nevent:dropped\ndata:{}\n\nid: 3\n\n";
        let whole = Parser::default().push(stream.as_bytes());
        assert_eq!(whole.len(), 3);
        assert_eq!(whole[0].id.as_deref(), Some("16"));
        assert_eq!(whole[0].data, "{\"a\":\n1}");
        assert_eq!(whole[1].event, "dropped");
        assert_eq!((whole[2].id.as_deref(), whole[2].data.as_str()), (Some("3"), ""));
        let mut parser = Parser::default();
        let bytewise: Vec<_> = stream.bytes().flat_map(|b| parser.push(&[b])).collect();
        assert_eq!(bytewise, whole);
    }

    #[test]
    fn a_line_without_end_stays_within_its_limit() {
        let mut parser = Parser::default();
        for _ in 0..40 {
            assert!(parser.push(&[b'x'; 65_536]).is_empty());
        }
        assert!(parser.line.len() <= LINE_BYTES_MAX);
    }
}
