//! A worker that takes a job off its list when the job is paid, and then does the job. If the job
//! fails, the worker puts it back; if the worker crashes in between, the job is gone.

use std::sync::Arc;

use rr_core::{Context, Error, RequesterExt, Router};
use rr_testkit::worlds::{Network, NetworkClient};

use super::support::{Kept, assert_found, assert_passes, explore, settle, within};

#[derive(Clone)]
struct Worker {
    payments: NetworkClient,
    printer: NetworkClient,
    jobs: Kept<Vec<u32>>,
    is_right: bool,
}

impl Worker {
    async fn work(self, ctx: Context, job: u32) -> Result<(), Error> {
        self.payments.call::<bool>(&ctx, "payments.is_paid", &job).await?;
        if !self.is_right {
            self.take_off(job);
        }
        match self.printer.call::<()>(&ctx, "printer.print", &job).await {
            Ok(()) => self.take_off(job),
            Err(_) if !self.is_right => self.jobs.lock().unwrap().push(job),
            Err(_) => {}
        }
        Ok(())
    }

    fn take_off(&self, job: u32) {
        self.jobs.lock().unwrap().retain(|one| *one != job);
    }
}

fn serve(network: &Network, jobs: &Kept<Vec<u32>>, printed: &Kept<Vec<u32>>, is_right: bool) {
    network.serve("payments", || {
        Router::new().route("payments.is_paid", |_: u32| async { Ok::<_, Error>(true) })
    });
    let printed = Arc::clone(printed);
    network.serve("printer", move || {
        let printed = Arc::clone(&printed);
        Router::new().route("printer.print", move |job: u32| {
            printed.lock().unwrap().push(job);
            async { Ok::<_, Error>(()) }
        })
    });
    let [payments, printer] = ["payments", "printer"].map(|to| network.client("worker", to));
    let worker = Worker { payments, printer, jobs: Arc::clone(jobs), is_right };
    network.serve("worker", move || {
        let worker = worker.clone();
        Router::new().route("worker.work", move |ctx: Context, job: u32| {
            // Not dropped with the call, so that the job is put back.
            let working = worker.clone().work(ctx.clone(), job);
            async move { ctx.shield(working).await }
        })
    });
}

async fn scenario(network: Network, is_right: bool) {
    let (jobs, printed) = (Kept::<Vec<u32>>::default(), Kept::default());
    jobs.lock().unwrap().push(7);
    serve(&network, &jobs, &printed, is_right);
    let worker = network.client("test", "worker");
    let _ = worker.call::<()>(&within(5), "worker.work", &7).await;
    settle(&network).await;
    let is_known = [&jobs, &printed].iter().any(|list| list.lock().unwrap().contains(&7));
    assert!(is_known, "the job is neither done nor on the list");
}

#[test]
fn a_worker_that_crashes_when_it_has_a_reply_loses_a_job_that_it_took_off_its_list() {
    assert_found(
        &explore(false, scenario),
        "worker>payments/payments.is_paid#1=crashed-on-reply",
        "the job is neither done nor on the list",
    );
}

#[test]
fn a_worker_that_takes_a_job_off_when_the_job_is_done_passes() {
    assert_passes(&explore(true, scenario));
}
