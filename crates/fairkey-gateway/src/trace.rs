//! Where a request belongs in a trace: [`TraceParent`].

/// What the header `traceparent` says of the caller's own span, by W3C's Trace Context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TraceParent {
    /// The trace.
    pub trace_id: [u8; 16],
    /// The span of the caller's that the request is part of.
    pub span_id: [u8; 8],
    /// Whether the caller records it.
    pub is_sampled: bool,
}

impl TraceParent {
    /// Reads the header's value; `None` where it is none: then the request begins a trace of its own.
    ///
    /// ```
    /// use fairkey_gateway::TraceParent;
    ///
    /// let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    /// let parent = TraceParent::parse(parent).unwrap();
    /// assert!(parent.is_sampled);
    /// assert_eq!(parent.span_id[7], 0xb7);
    /// assert_eq!(TraceParent::parse("00-0-0-01"), None);
    /// ```
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let mut parts = value.trim().split('-');
        let (version, trace_id) = (parts.next()?, parts.next()?);
        let (span_id, flags) = (parts.next()?, parts.next()?);
        let [version] = hex(version)?;
        // Later versions may add parts, and version 255 is forbidden.
        if version == 0xff || version == 0 && parts.next().is_some() {
            return None;
        }
        let [flags] = hex(flags)?;
        let (trace_id, span_id) = (hex(trace_id)?, hex(span_id)?);
        (trace_id != [0; 16] && span_id != [0; 8]).then_some(Self {
            trace_id,
            span_id,
            is_sampled: flags & 1 == 1,
        })
    }
}

/// Reads so many bytes in lower case, and nothing more.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |c: u8| match c {
            b'0'..=b'9' => Some(c - b'0'),
            b'a'..=b'f' => Some(c - b'a' + 10),
            _ => None,
        };
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_parent_is_none() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        assert!(!TraceParent::parse(good).unwrap().is_sampled);
        // A later version may have more parts.
        let later = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03-what-ever";
        assert!(TraceParent::parse(later).unwrap().is_sampled);
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-00",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-00",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(text in "\\PC{0,80}|[0-9a-f-]{50,60}") {
            let _ = TraceParent::parse(&text);
        }

        #[test]
        fn what_is_written_is_read(trace in 1u128.., span in 1u64.., flags: u8) {
            let text = format!("00-{trace:032x}-{span:016x}-{flags:02x}");
            let parent = TraceParent::parse(&text).unwrap();
            prop_assert_eq!(u128::from_be_bytes(parent.trace_id), trace);
            prop_assert_eq!(u64::from_be_bytes(parent.span_id), span);
            prop_assert_eq!(parent.is_sampled, flags & 1 == 1);
        }
    }
}
