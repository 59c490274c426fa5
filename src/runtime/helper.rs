//! A helper worker: it does the slow calls (open, sync, rename, remove, resolve) for workers that
//! must not block. Questions go in by a ring, answers come back by another. In simulation the
//! helper is one more stepped worker.

use std::sync::Arc;

use super::parker::Parker;
use super::{Progress, Worker};
use crate::ring::{Ring, Seat, Wake};
use crate::time::{Mono, Now};

/// The asker's end. It bounds its open questions itself: a full ring is a bug.
pub struct Desk<Question, Answer> {
    questions: Arc<Ring<Question>>,
    answers: Arc<Ring<Answer>>,
}

pub struct Helper<Question, Answer> {
    name: String,
    questions: Arc<Ring<Question>>,
    answers: Arc<Ring<Answer>>,
    handler: Box<dyn FnMut(Question, Now) -> Answer + Send>,
    parker: Parker,
    seat: Seat,
    closing: bool,
}

impl<Question, Answer> Clone for Desk<Question, Answer> {
    fn clone(&self) -> Self {
        Self { questions: Arc::clone(&self.questions), answers: Arc::clone(&self.answers) }
    }
}

impl<Question, Answer> Desk<Question, Answer> {
    pub fn ask(&self, question: Question) {
        self.questions.offer(question);
    }

    pub fn poll(&self) -> Option<Answer> {
        self.answers.poll()
    }

    /// The ring of answers; the asker takes its seat at its bell.
    pub fn answers(&self) -> &Ring<Answer> {
        &self.answers
    }
}

impl<Question: Send, Answer: Send> Helper<Question, Answer> {
    /// A helper and its desk, for at most `open` open questions.
    pub fn new(
        name: String,
        open: usize,
        handler: impl FnMut(Question, Now) -> Answer + Send + 'static,
    ) -> (Self, Desk<Question, Answer>) {
        let questions = Arc::new(Ring::new(open));
        let answers = Arc::new(Ring::new(open));
        let desk = Desk { questions: Arc::clone(&questions), answers: Arc::clone(&answers) };
        let parker = Parker::default();
        let seat = questions.bell().join(parker.waker());
        let handler = Box::new(handler);
        (Self { name, questions, answers, handler, parker, seat, closing: false }, desk)
    }
}

impl<Question: Send, Answer: Send> Worker for Helper<Question, Answer> {
    fn name(&self) -> &str {
        &self.name
    }

    fn work(&mut self, now: Now) -> Progress {
        match self.questions.poll() {
            Some(question) => {
                self.answers.offer((self.handler)(question, now));
                Progress::Worked
            }
            None if self.closing => Progress::Done,
            None => Progress::IDLE,
        }
    }

    fn wait(&mut self, now: Now, until: Mono) {
        let bell = self.questions.bell();
        bell.doze(self.seat);
        if self.questions.is_empty() {
            self.parker.sleep(now, until);
        }
        bell.rise(self.seat);
    }

    fn close(&mut self, _now: Now) {
        self.closing = true;
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.parker.waker()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_comes_back_as_an_answer() {
        let (mut helper, desk) = Helper::new("helper".into(), 2, |n: u32, _| n * 2);
        let now = Now::default();
        assert_eq!(helper.work(now), Progress::IDLE);
        desk.ask(3);
        desk.ask(4);
        helper.close(now);
        assert!((0..9).any(|_| helper.work(now) == Progress::Done), "it never ends");
        assert_eq!((desk.poll(), desk.poll(), desk.poll()), (Some(6), Some(8), None));
    }
}
