//! The target for requests to a timestamp authority, in DER and in JSON; see `targets.rs`.

use treering_proto::timestamp::{TimestampRequest, TimestampRequestError};

use super::REFUSAL_LEN_MAX;

pub(super) fn timestamp_request(data: &[u8]) -> bool {
    is_der(data) || is_json(data)
}

fn is_der(data: &[u8]) -> bool {
    let read = TimestampRequest::from_der(data);
    if let Ok(read) = &read {
        assert_eq!(read.to_der(), data);
    }
    is_request(read)
}

/// The same request can be written in DER.
fn is_json(data: &[u8]) -> bool {
    let read = TimestampRequest::from_json(data);
    if let Ok(read) = &read {
        assert_eq!(TimestampRequest::from_der(&read.to_der()).as_ref(), Ok(read));
    }
    is_request(read)
}

fn is_request(read: Result<TimestampRequest, TimestampRequestError>) -> bool {
    let refusal = read.err();
    assert!(refusal.as_ref().is_none_or(|error| error.to_string().len() <= REFUSAL_LEN_MAX));
    refusal.is_none()
}
