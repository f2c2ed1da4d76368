use jiff::SignedDuration;
use poolkeeper::desired::*;
use poolkeeper::live::http::{Patience, install_tls_provider};
use poolkeeper::live::openstack::*;
use poolkeeper::names::*;
use poolkeeper::observed::*;
use poolkeeper::plan::CreateServer;
use poolkeeper::world::Done;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
fn main() {
    install_tls_provider();
    let t0 = std::time::Instant::now();
    let cloud_name = std::env::args().nth(1).unwrap_or("lab".into());
    let full = std::env::args().nth(2).is_some();
    let vars: BTreeMap<String, String> = std::env::vars().filter(|(k, _)| k.starts_with("OS_")).collect();
    let around = Surroundings {
        env: CloudsEnv { vars, ..CloudsEnv::default() },
        cache_dir: Some("/tmp/pk-os-try".into()),
        patience: Patience { pause: Arc::new(|d| std::thread::sleep(d)), left: Arc::new(|| Duration::from_secs(50)) },
        clock: Arc::new(jiff::Timestamp::now),
    };
    let s = SignedDuration::from_secs(30);
    let provider = Provider {
        name: "p1".into(),
        cloud: cloud_name,
        region: None,
        max_servers: 1,
        max_concurrent_launches: 1,
        networks: vec![],
        address: AddressChoice::default(),
        security_groups: vec![],
        availability_zones: vec![],
        floating_ip_network: None,
        key_name: None,
        config_drive: true,
        host_keys: HostKeys::FirstUse,
        api_timeout: s,
        launch_timeout: s,
        boot_timeout: s,
    };
    let cloud = Cloud::new(&provider, &around).unwrap_or_else(|e| {
        println!("{e}; {:?}", e.hint);
        std::process::exit(1)
    });
    let ctl = ControllerId::from("os-helper");
    println!("new {:?}", t0.elapsed());
    let l = cloud.lists(&["ci-base", "fake-base"], &ctl);
    println!("lists {:?} calls {}", t0.elapsed(), cloud.calls());
    match &l {
        Ok(l) => {
            println!("{:?}", l.account);
            for s in &l.servers {
                println!("  {} {} {:?} {:?} locked {:?} {:?}", s.id, s.name, s.status, s.addresses, s.locked, s.fault);
            }
            for i in &l.images {
                println!("  {i:?}");
            }
        }
        Err(g) => {
            println!("{g}");
            return;
        }
    }
    println!("again: {}", cloud.lists(&["ci-base"], &ctl).is_ok());
    println!("calls {} {:?}", cloud.calls(), t0.elapsed());
    println!("{:?}", cloud.limits());
    let flavors = cloud.flavors().unwrap();
    println!("{:?}", flavors);
    let nets = cloud.networks().unwrap();
    println!("{:?}", nets);
    println!("gone: {:?}", cloud.server(&"11111111-1111-4111-8111-111111111111".into()));
    if !full {
        return;
    }
    let l = l.unwrap();
    let image = newest_image(&l.images, "ci-base");
    let marks = BTreeMap::from([
        (Mark::Controller, "os-helper".to_owned()),
        (Mark::Role, "node".to_owned()),
        (Mark::Pool, "try".to_owned()),
    ]);
    let mut want = CreateServer {
        provider: "p1".into(),
        pool: "try".into(),
        name: "os-helper-try-1".into(),
        image: image.id.clone(),
        image_name: "ci-base".into(),
        flavor: flavors.iter().find(|f| f.name == "ci.tiny").unwrap().id.clone(),
        flavor_name: "ci.tiny".into(),
        networks: nets.iter().filter(|n| n.name == "ci-net").map(|n| n.id.clone()).collect(),
        security_groups: vec!["default".into()],
        availability_zone: Some("real".into()),
        key_name: Some("ci-key".into()),
        config_drive: true,
        user_data: None,
        marks,
    };
    let id = match cloud.create_server(&want) {
        Ok(Done::Accepted(id)) => id,
        other => {
            println!("{other:?}");
            return;
        }
    };
    println!("accepted {id} {:?}", t0.elapsed());
    println!("marks while building: {:?}", cloud.set_marks(&id, &BTreeMap::from([(Mark::Used, "x".to_owned())])));
    println!("console while building: {:?}", cloud.console(&id));
    for _ in 0..60 {
        let s = cloud.server(&id).unwrap().unwrap();
        if s.status == ServerStatus::Active && s.task.is_none() || s.status == ServerStatus::Error {
            println!("{s:?} {:?}", t0.elapsed());
            break;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    println!(
        "set: {:?}",
        cloud.set_marks(&id, &BTreeMap::from([(Mark::Used, "2026 x".to_owned()), (Mark::Failed, "y é".to_owned())]))
    );
    println!("clear: {:?}", cloud.clear_mark(&id, Mark::Failed));
    println!("clear again: {:?}", cloud.clear_mark(&id, Mark::Failed));
    println!("too long: {:?}", cloud.set_marks(&id, &BTreeMap::from([(Mark::Used, "x".repeat(300))])));
    println!("marks: {:?}", cloud.server(&id).unwrap().unwrap().metadata);
    std::thread::sleep(Duration::from_secs(12));
    let c = cloud.console(&id).unwrap();
    println!("console {} bytes, {} keys", c.len(), HostKey::all_on(&c).len());
    println!("delete: {:?}", cloud.delete_server(&id));
    for _ in 0..30 {
        match cloud.server(&id) {
            Ok(None) => {
                println!("gone {:?}", t0.elapsed());
                break;
            }
            Ok(Some(s)) => println!("{:?} {:?} deleting {}", s.status, s.task, s.is_deleting()),
            Err(e) => println!("{e}"),
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    println!("delete again: {:?}", cloud.delete_server(&id));
    want.flavor = "nope".into();
    println!("bad flavor: {:?}", cloud.create_server(&want));
    want.networks.clear();
    want.flavor = "1".into();
    println!("auto net: {:?}", cloud.create_server(&want));
    println!("calls {}", cloud.calls());
}
fn newest_image<'a>(i: &'a [Image], n: &str) -> &'a Image {
    poolkeeper::observed::image::newest(i, n).unwrap()
}
