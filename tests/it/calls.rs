//! How many calls the real binary makes: counted where they arrive.

use crate::served::{Served, Shape};

#[test]
fn probe() {
    let served = Served::new(Shape { providers: 1, targets: 1, pools: 1, min_ready: 1 });
    served.world.with(|state| state.faults.record = Some(Vec::new()));
    println!("{}", served.done(&["apply", "--yes"], "first"));
    for line in served.world.with(|state| state.faults.record.take()).unwrap() {
        println!("{line}");
    }
    println!("{:?} {:?}", served.servers("cloud-0"), served.plan(served.world.now()).chains.len());
}
