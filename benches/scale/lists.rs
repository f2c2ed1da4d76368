//! Long lists read and planned: the services' own JSON, as the sandbox serves it, through the real parsers, the questions and
//! the plan. A process of its own for each number of servers, so that its peak is its own.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use poolkeeper::desired::Desired;
use poolkeeper::live::http::{Client, Options, Patience, Request, read_json};
use poolkeeper::live::jenkins::computer::{ComputerSet, list_path};
use poolkeeper::live::openstack::servers_of_page;
use poolkeeper::load::{LoadEnv, load};
use poolkeeper::names::{ProviderName, TargetName};
use poolkeeper::observed::{Account, Computer, Lists, Observed, ProviderLists, Server, TargetList};
use poolkeeper::plan::Overview;
use poolkeeper::plan::asks::asks_of;
use poolkeeper::plan::planner::plan_of;
use poolkeeper::sandbox::Sandbox;
use poolkeeper::settings::now;

use crate::figures::{Figure, largest, median};
use crate::served::{Served, Shape};
use crate::usage;

/// The first argument that makes this program plan a directory of lists and print what it took.
pub(crate) const PLAN: &str = "--plan";

const SIZES: [usize; 3] = [1000, 5000, 25_000];
const POOLS: usize = 50;
/// The least of them is what the work itself takes. On a virtual machine a neighbour on the same core makes the same instructions
/// take half as long again, for seconds on end: a middle of few runs tells of the neighbour.
const RUNS: usize = 40;

/// What the client asks for at a time, and Nova's own maximum.
const PAGE: usize = 1000;

/// For 5,000 servers and as many agents.
const CPU_MS: f64 = 50.0;
const MEMORY_MIB: f64 = 60.0;

/// A server's share at 25,000 against its share at 1,000: sorting alone grows faster than the list, by half.
const GROWTH: f64 = 1.5;

/// One of ten nodes builds, one of twenty was used: seen for the first time, so that each of them brings an action.
const BUSY: usize = 10;
const USED: usize = 20;

pub(crate) fn figures() -> Vec<Figure> {
    poolkeeper::live::http::install_tls_provider();
    let places: Vec<_> = SIZES
        .iter()
        .map(|size| {
            let served = Served::new(Shape { providers: 1, targets: 1, pools: POOLS, min_ready: 1 });
            served.converge();
            let directory = tempfile::tempdir().expect("a directory");
            write(&served, *size, directory.path());
            (served, directory)
        })
        .collect();
    // In turn: what holds one size up holds the others up, too.
    let mut runs = vec![Vec::new(); SIZES.len()];
    for _ in 0..RUNS {
        for ((served, directory), runs) in places.iter().zip(&mut runs) {
            runs.push(in_a_process(served, directory.path()));
        }
    }
    let mut figures = Vec::new();
    let mut shares = Vec::new();
    for ((size, servers), runs) in SIZES.iter().zip(["1,000", "5,000", "25,000"]).zip(&runs) {
        let best = runs.iter().min_by(|a, b| a[ALL].total_cmp(&b[ALL])).expect("a run");
        figures.extend(of_size(*size == 5000, servers, best, runs));
        shares.push(best[ALL] / *size as f64);
    }
    figures.push(Figure::new("a server at 25,000 against 1,000: CPU", shares[2] / shares[0], "times", Some(GROWTH)));
    figures
}

/// What `plan_lists` prints: three stages, all of them, the peak, the actions.
type Run = [f64; 6];
const ALL: usize = 3;

fn of_size(has_target: bool, servers: &str, best: &Run, runs: &[Run]) -> Vec<Figure> {
    let each = |at: usize| runs.iter().map(|run| run[at]).collect::<Vec<f64>>();
    let target = |most: f64| has_target.then_some(most);
    let figure =
        |what: &str, measured: f64, unit, target| Figure::new(format!("{servers} servers: {what}"), measured, unit, target);
    vec![
        figure("CPU, parse", best[0], "ms", None),
        figure("CPU, join and questions", best[1], "ms", None),
        figure("CPU, plan", best[2], "ms", None),
        figure(&format!("CPU, all, best of {RUNS}"), best[ALL], "ms", target(CPU_MS)),
        figure("CPU, all, median", median(each(ALL)), "ms", None),
        figure("peak memory", largest(&each(4)), "MiB", target(MEMORY_MIB)),
        figure("actions planned", median(each(5)), "", None),
    ]
}

fn in_a_process(served: &Served, lists: &Path) -> Run {
    let mut planning = Command::new(std::env::current_exe().expect("this program"));
    planning.arg(PLAN).arg(served.desired_state()).arg(lists);
    let output = planning.stderr(Stdio::inherit()).output().expect("this program starts");
    assert!(output.status.success(), "planning: {}", output.status);
    usage::numbers(&String::from_utf8_lossy(&output.stdout))
}

/// The lists of so many servers, as the services answer: a file a page.
fn write(served: &Served, size: usize, directory: &Path) {
    let (world, provider, target) = (&served.world, ProviderName::from("cloud-0"), TargetName::from("ci-0"));
    for name in served.servers("cloud-0") {
        world.multiply(&provider, &target, &name, u32::try_from(size / POOLS - 1).expect("a small number"));
    }
    let names = served.servers("cloud-0");
    assert_eq!(names.len(), size, "servers in the sandbox");
    for (number, name) in names.iter().enumerate() {
        let number = number % (size / POOLS);
        if number % USED == 1 {
            world.mark_gearman(&target, name);
        } else if number.is_multiple_of(BUSY) {
            world.start_build(&target, name, 3600);
        }
    }
    let client = Client::new(&Options::new("http://127.0.0.1", Duration::from_secs(60), Patience::endless())).expect("a client");
    let mut marker = String::new();
    for page in 0.. {
        let json = get(&client, &nova(world, served, &provider, &marker));
        let servers = servers_of_page(&json).expect("a page");
        let Some(last) = servers.last() else { break };
        marker = format!("&marker={}", last.id);
        fs::write(directory.join(format!("servers-{page:03}.json")), json).expect("a file");
    }
    let (user, token) = world.with(|state| {
        let jenkins = state.jenkins.get(&target).expect("the target");
        (jenkins.user.clone(), jenkins.token.clone())
    });
    let url = format!("{}{}", served.http.jenkins_url(&target), list_path());
    let agents = get(&client, &Request::get(url).basic_auth(&user, &token));
    fs::write(directory.join("agents.json"), agents).expect("a file");
}

fn nova(world: &Sandbox, served: &Served, provider: &ProviderName, marker: &str) -> Request {
    let (token, _) = world.with(|state| state.issue_token(provider));
    let url = format!("http://{}/os/{provider}/compute/v2.1/servers/detail?limit={PAGE}{marker}", served.http.address());
    Request::get(url).header("OpenStack-API-Version", "compute 2.90").secret_header("X-Auth-Token", token)
}

fn get(client: &Client, request: &Request) -> Vec<u8> {
    let response = client.send(request).expect("an answer");
    assert!(response.is_success(), "{request:?}: {response:?}");
    response.body
}

/// The other side of `in_a_process`: CPU milliseconds of each stage and of all, the peak in MiB, and the actions of the plan.
pub(crate) fn plan_lists(desired_state: &Path, directory: &Path) {
    let mut desired = load(desired_state, &LoadEnv::default()).expect("a sound desired state").desired;
    let (servers, of_servers) = servers(directory);
    let agents = fs::read(directory.join("agents.json")).expect("the agents");
    let begun = usage::own_cpu_ms();
    let agents: ComputerSet = read_json(&agents).expect("a whole list");
    let agents = agents.agents();
    let parsed = usage::own_cpu_ms() - begun + of_servers;
    let begun = usage::own_cpu_ms();
    let size = servers.len();
    enough_for(&mut desired, size);
    // As `observe_and_plan` does it: nothing is asked, and so nothing is put together twice.
    let observed = Observed { lists: lists(servers, agents), ..Observed::default() };
    let overview = Overview::of(&desired, &observed, now());
    let asks = asks_of(&overview);
    assert!(asks.is_empty(), "{} questions", asks.len());
    let asked = usage::own_cpu_ms();
    let plan = plan_of(overview);
    let planned = usage::own_cpu_ms();
    let actions: usize = plan.chains.iter().map(|chain| chain.actions.len()).sum();
    let peak = usage::own_peak_mib();
    println!("{parsed} {} {} {} {peak} {actions}", asked - begun, planned - asked, parsed + planned - begun);
}

/// And the CPU milliseconds of parsing them: the files stand for answers that came over the network.
fn servers(directory: &Path) -> (Vec<Server>, f64) {
    let (mut servers, mut cpu_ms) = (Vec::new(), 0.0);
    for page in 0.. {
        let Ok(json) = fs::read(directory.join(format!("servers-{page:03}.json"))) else { break };
        let begun = usage::own_cpu_ms();
        servers.extend(servers_of_page(&json).expect("a page"));
        cpu_ms += usage::own_cpu_ms() - begun;
    }
    (servers, cpu_ms)
}

fn lists(servers: Vec<Server>, computers: Vec<Computer>) -> Lists {
    let provider = ProviderLists { account: Account::default(), servers, images: Vec::new(), ..ProviderLists::default() };
    let target = TargetList { version: Some("2.462.3".to_owned()), session: Some("0a1b2c3d".to_owned()), computers };
    Lists {
        providers: [(ProviderName::from("cloud-0"), Ok(provider))].into(),
        targets: [(TargetName::from("ci-0"), Ok(target))].into(),
    }
}

/// So many ready nodes are wanted as there are: nothing is surplus, and nothing is launched.
fn enough_for(desired: &mut Desired, servers: usize) {
    let each = u32::try_from(servers / POOLS).expect("a small number");
    for pool in desired.pools.values_mut() {
        (pool.min_ready, pool.max_servers) = (each * 17 / 20, each);
    }
    for provider in desired.controller.providers.values_mut() {
        provider.max_servers = each * u32::try_from(POOLS).expect("a small number");
    }
}
