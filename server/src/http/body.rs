//! Bytes of requests and answers in memory: how much room they take, of everybody's and of their
//! own client's.
//!
//! Invariant: room is taken as bytes arrive, and given back when they are gone: those of an answer
//! when the connection has written them, however slowly its client reads. Answers go out in pieces,
//! so that a client that takes nothing makes the connection hold one piece.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection::OpenRequest;
use super::guests::Guest;
use super::reply::{Fault, Reply};
use crate::limits::{ANSWER_BYTES_MAX, ANSWER_PIECE_BYTES, BUDGETED_BYTES_MIN, REQUEST_BYTES_MAX};

/// Bytes of requests and answers that may be in memory at once.
#[derive(Clone)]
pub struct Budget {
    requests: Arc<Semaphore>,
    answers: Arc<Semaphore>,
}

impl Default for Budget {
    fn default() -> Self {
        let kibibytes = |bytes: usize| Arc::new(Semaphore::new(bytes >> 10));
        Self { requests: kibibytes(REQUEST_BYTES_MAX), answers: kibibytes(ANSWER_BYTES_MAX) }
    }
}

impl Budget {
    /// Room for a request of `guest`; none yet.
    pub fn request(&self, guest: &Guest) -> Room {
        Room::new(&self.requests, guest)
    }

    /// A reply whose body holds room of `guest`, if it is large.
    ///
    /// # Errors
    /// 503 when there is none.
    pub fn answer(&self, reply: Reply, guest: &Guest) -> Result<Reply, Fault> {
        let (parts, mut body) = reply.into_parts();
        if body.bytes.len() >= BUDGETED_BYTES_MIN {
            let mut room = Room::new(&self.answers, guest);
            room.grow_to(body.bytes.len())?;
            body.kept.room = Some(Arc::new(room));
        }
        Ok(Reply::from_parts(parts, body))
    }
}

/// Room in memory; dropped, it is free again.
#[derive(Debug)]
pub struct Room {
    from: [Arc<Semaphore>; 2],
    held: [Option<OwnedSemaphorePermit>; 2],
    kibibytes: usize,
}

impl Room {
    fn new(shared: &Arc<Semaphore>, guest: &Guest) -> Self {
        Self { from: [shared.clone(), guest.bytes.clone()], held: [None, None], kibibytes: 0 }
    }

    /// Takes room for `bytes` in all.
    ///
    /// # Errors
    /// 503 when there is none.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), Fault> {
        let wanted = (bytes >> 10) + 1;
        let Some(more) = wanted.checked_sub(self.kibibytes).filter(|more| *more > 0) else {
            return Ok(());
        };
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        for (from, held) in self.from.iter().zip(&mut self.held) {
            let taken = from.clone().try_acquire_many_owned(more).map_err(|_| {
                Fault::unavailable("memory-full", "too much is being sent at once; retry")
            })?;
            match held {
                Some(held) => held.merge(taken),
                None => *held = Some(taken),
            }
        }
        self.kibibytes = wanted;
        Ok(())
    }
}

/// The body of an answer.
#[derive(Debug, Default)]
pub struct AnswerBody {
    bytes: Bytes,
    kept: Kept,
}

/// What lasts until the last piece of an answer is gone.
#[derive(Clone, Debug, Default)]
struct Kept {
    room: Option<Arc<Room>>,
    request: Option<Arc<OpenRequest>>,
}

impl<T: Into<Bytes>> From<T> for AnswerBody {
    fn from(bytes: T) -> Self {
        Self { bytes: bytes.into(), kept: Kept::default() }
    }
}

impl AnswerBody {
    /// The request stays open until this is sent.
    pub fn answering(mut self, request: OpenRequest) -> Self {
        self.kept.request = Some(Arc::new(request));
        self
    }
}

/// A piece of an answer on its way to the socket, and what lasts until it is there.
#[derive(Debug)]
pub struct Piece {
    bytes: Bytes,
    _kept: Kept,
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

impl Body for AnswerBody {
    type Data = Piece;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, Self::Error>>> {
        if self.bytes.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.bytes.len().min(ANSWER_PIECE_BYTES);
        let bytes = self.bytes.split_to(length);
        Poll::Ready(Some(Ok(Frame::data(Piece { bytes, _kept: self.kept.clone() }))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::super::guests::Guests;
    use super::*;

    fn guest() -> Arc<Guest> {
        Guests::new(false).enter("192.0.2.1".parse().unwrap()).unwrap().guest
    }

    #[test]
    fn an_answer_holds_its_room_until_its_last_piece_is_gone() {
        let (budget, guest) = (Budget::default(), guest());
        let free = budget.answers.available_permits();
        let length = ANSWER_PIECE_BYTES + 1;
        let reply = budget.answer(Reply::new(vec![7; length].into()), &guest).unwrap();
        let mut body = reply.into_body();
        let mut next = || {
            let mut context = Context::from_waker(std::task::Waker::noop());
            match Pin::new(&mut body).poll_frame(&mut context) {
                Poll::Ready(Some(Ok(frame))) => frame.into_data().ok(),
                _ => None,
            }
        };
        let (first, last) = (next().unwrap(), next().unwrap());
        assert_eq!((first.remaining(), last.remaining()), (ANSWER_PIECE_BYTES, 1));
        assert!(next().is_none());
        drop((body, first));
        assert!(budget.answers.available_permits() < free, "the last piece is not gone");
        drop(last);
        assert_eq!(budget.answers.available_permits(), free);
    }

    #[test]
    fn one_client_cannot_take_everybodys_room() {
        let (budget, guest) = (Budget::default(), guest());
        let mut rooms = Vec::new();
        loop {
            let mut room = budget.request(&guest);
            if room.grow_to(1 << 20).is_err() {
                break;
            }
            rooms.push(room);
        }
        assert!(budget.requests.available_permits() > (REQUEST_BYTES_MAX >> 10) / 2);
        assert!(budget.request(&guest).grow_to(1 << 20).is_err());
        rooms.clear();
        assert!(budget.request(&guest).grow_to(1 << 20).is_ok());
    }

    #[test]
    fn room_grows_by_what_arrived() {
        let (budget, guest) = (Budget::default(), guest());
        let free = budget.requests.available_permits();
        let mut room = budget.request(&guest);
        for bytes in 0..5000 {
            room.grow_to(bytes).unwrap();
        }
        assert_eq!(free - budget.requests.available_permits(), 5);
    }
}
