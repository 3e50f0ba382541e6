//! What is asked for, request by request.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, StatusCode};

use super::face::Face;
use super::target::Target;

/// A row of requests, numbered from 0.
#[derive(Clone)]
pub struct Requests {
    what: What,
    /// How many there are; `None` when they are repeated for ever.
    count: Option<usize>,
}

/// A question: asking changes nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Question {
    /// A GET of this path.
    Get(String),
    /// A POST of this JSON, where the interface wants it so.
    Post {
        /// Where it goes.
        path: &'static str,
        /// What.
        json: String,
    },
}

#[derive(Clone)]
enum What {
    Submit { face: Face, bodies: Arc<Vec<Bytes>> },
    Ask(Arc<Vec<Question>>),
}

impl Requests {
    /// Submits each of `bodies` once.
    pub fn submit(face: Face, bodies: Arc<Vec<Bytes>>) -> Self {
        let count = Some(bodies.len());
        Self { what: What::Submit { face, bodies }, count }
    }

    /// Submits `bodies` over and over: only a server that keeps nothing takes that.
    pub fn submit_again(face: Face, bodies: Arc<Vec<Bytes>>) -> Self {
        let count = bodies.is_empty().then_some(0);
        Self { what: What::Submit { face, bodies }, count }
    }

    /// Asks `questions` over and over.
    pub fn ask(questions: Arc<Vec<Question>>) -> Self {
        let count = questions.is_empty().then_some(0);
        Self { what: What::Ask(questions), count }
    }

    /// The first `count` of them.
    pub fn at_most(self, count: usize) -> Self {
        let count = self.count.map_or(count, |have| have.min(count));
        Self { count: Some(count), ..self }
    }

    /// How many there are; `None` when they are repeated for ever.
    pub fn count(&self) -> Option<usize> {
        self.count
    }

    /// The request with this number, and the status that its answer must have. The number is below
    /// the count.
    pub(super) fn get(&self, number: usize, target: &Target) -> (Request<Full<Bytes>>, StatusCode) {
        match &self.what {
            What::Submit { face, bodies } => {
                let body = bodies[number % bodies.len()].clone();
                (target.post(face.path(), face.content_type(), body), face.success())
            }
            What::Ask(questions) => {
                let request = match &questions[number % questions.len()] {
                    Question::Get(path) => target.get(path),
                    Question::Post { path, json } => {
                        target.post(path, "application/json", json.clone().into())
                    }
                };
                (request, StatusCode::OK)
            }
        }
    }
}
