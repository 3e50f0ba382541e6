//! Waiting for several answers at once, without giving up borrowing.
//!
//! Invariant: results are in the order of the futures. Out of scope: cancelling.

use std::pin::Pin;
use std::task::Poll;

/// Runs all `futures` to their end, side by side in this task.
pub(crate) async fn side_by_side<T>(
    futures: impl IntoIterator<Item: Future<Output = T>>,
) -> Vec<T> {
    let mut running: Vec<Pin<Box<_>>> = futures.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<T>> = running.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, slot) in running.iter_mut().zip(&mut done) {
            if slot.is_none()
                && let Poll::Ready(result) = future.as_mut().poll(context)
            {
                *slot = Some(result);
            }
        }
        if done.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done.into_iter().map(|slot| slot.expect("all are done")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_run_at_once_and_keep_their_order() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let (mut sender, mut receiver) = (Some(sender), Some(receiver));
        let jobs: Vec<Pin<Box<dyn Future<Output = u8>>>> = vec![
            // Ends only because the second one runs, too.
            Box::pin({
                let receiver = receiver.take().unwrap();
                async move { receiver.await.unwrap() }
            }),
            Box::pin({
                let sender = sender.take().unwrap();
                async move {
                    sender.send(1).unwrap();
                    2
                }
            }),
        ];
        assert_eq!(side_by_side(jobs).await, [1, 2]);
        assert!(side_by_side(Vec::<std::future::Ready<u8>>::new()).await.is_empty());
    }
}
