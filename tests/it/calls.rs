//! How many calls the real binary makes, counted where they arrive: an idle run's do not grow with the pools.

use poolkeeper::names::ProviderName;

use crate::served::{Calls, Served, Shape};

/// What a command asks, by who is asked, and what it prints.
fn counted(served: &Served, arguments: &[&str]) -> (Calls, String) {
    served.recorded(|| served.done(arguments, "counted"))
}

fn expected(shape: Shape, provider: usize, target: usize) -> Calls {
    let providers = (0..shape.providers).map(|number| (format!("cloud-{number}"), provider));
    providers.chain((0..shape.targets).map(|number| (format!("ci-{number}"), target))).collect()
}

const SHAPES: [Shape; 4] = [
    Shape { providers: 1, targets: 1, pools: 1, min_ready: 1 },
    Shape { providers: 1, targets: 1, pools: 50, min_ready: 1 },
    Shape { providers: 2, targets: 2, pools: 1, min_ready: 1 },
    Shape { providers: 2, targets: 2, pools: 50, min_ready: 1 },
];

#[test]
fn an_idle_run_makes_three_calls_a_provider_and_one_a_target() {
    for shape in SHAPES {
        let served = Served::new(shape);
        served.converge();
        // Servers, our images, images by name: and a token and Nova's version when no earlier run has kept them.
        let (first, said) = counted(&served, &["plan"]);
        assert!(said.contains("nothing to do"), "{said}");
        assert_eq!(first, expected(shape, 5, 1), "{shape:?}: the first run");
        for command in [["plan"].as_slice(), &["apply", "--yes"]] {
            let (calls, said) = counted(&served, command);
            assert!(said.contains("nothing to do"), "{said}");
            assert_eq!(calls, expected(shape, 3, 1), "{shape:?}: {command:?}");
        }
    }
}

/// Snapshots are in the lists that are there already.
#[test]
fn an_idle_run_asks_nothing_more_for_snapshots() {
    let shape = Shape { providers: 1, targets: 1, pools: 1, min_ready: 1 };
    let served = Served::new(shape).with_snapshot();
    served.converge();
    counted(&served, &["plan"]);
    for command in [["plan"].as_slice(), &["apply", "--yes"]] {
        let (calls, said) = counted(&served, command);
        assert!(said.contains("nothing to do"), "{said}");
        assert_eq!(calls, expected(shape, 3, 1), "{command:?}");
    }
}

/// A pool that is short adds flavors, limits and networks of each provider, however many pools are short.
#[test]
fn a_plan_with_something_to_create_makes_three_calls_more_a_provider() {
    for shape in SHAPES {
        let served = Served::new(shape);
        let (first, said) = counted(&served, &["plan"]);
        assert!(said.contains(&format!("{} to create", shape.pools)), "{said}");
        assert_eq!(first, expected(shape, 8, 1), "{shape:?}: the first run");
        let (calls, _) = counted(&served, &["plan"]);
        assert_eq!(calls, expected(shape, 6, 1), "{shape:?}");
    }
}

/// A node takes what it takes, and the lists of its passes are shared: ten nodes ask less than ten times as much as one.
#[test]
fn the_first_run_of_an_empty_cloud_asks_so_much_and_no_more() {
    let shape = Shape { providers: 1, targets: 1, pools: 1, min_ready: 1 };
    let served = Served::new(shape);
    let before = served.http.connections();
    let (calls, _) = counted(&served, &["apply", "--yes"]);
    // Connections are used again. How often depends on the machine, too: one is free a moment after its answer was read whole,
    // and what is asked within that moment opens another. The benchmark counts them.
    let connections = usize::try_from(served.http.connections() - before).expect("a few");
    let asked: usize = calls.iter().filter(|(of, _)| *of != "ssh").map(|(_, count)| count).sum();
    assert!(2 * connections < asked, "{connections} connections for {asked} calls");
    // The cloud: a login, 5 passes of 3 lists, 3 for the create call, the create, a console, and 3 marks; the server is read
    // before each of its 7 changes. Jenkins: 5 lists, the agent read before its 3 changes (a 404 is checked in the list,
    // twice), the create, and 3 for the agent's program. SSH: 5 connections with 4 commands.
    let wanted = [("cloud-0", 2 + 5 * 3 + 3 + 1 + 1 + 3 + 7), ("ci-0", 5 + 3 + 2 + 1 + 3), ("ssh", 5 + 4)];
    assert_eq!(calls, wanted.map(|(service, calls)| (service.to_owned(), calls)).into());
    let (ten, _) = counted(&Served::new(Shape { min_ready: 10, ..shape }), &["apply", "--yes"]);
    let all = |calls: &Calls| calls.values().sum::<usize>();
    assert!(all(&ten) < 10 * all(&calls), "{ten:?} and {calls:?}");
}

#[test]
fn servers_come_in_pages_of_a_thousand() {
    let shape = Shape { providers: 1, targets: 1, pools: 1, min_ready: 1 };
    let served = Served::new(shape);
    served.converge();
    let provider = ProviderName::from("cloud-0");
    served.world.multiply(&provider, &"ci-0".into(), &served.servers("cloud-0")[0], 2499);
    counted(&served, &["plan"]);
    served.world.with(|state| state.faults.record = Some(Vec::new()));
    served.done(&["plan"], "three pages");
    let calls = served.world.with(|state| state.faults.record.take()).unwrap_or_default();
    let pages = calls.iter().filter(|call| call.contains("/servers/detail")).count();
    assert_eq!((pages, calls.len()), (3, 3 + 2 + 1), "2,500 servers: {calls:#?}");
}
