//! `status`, and the lines that `plan -v` adds: what an operator reads first, and every inaction.

use poolkeeper::cli::{Format, StatusArgs};
use poolkeeper::commands::status::show;
use poolkeeper::node::join;
use poolkeeper::observe::observe;
use poolkeeper::observed::{Source, ThisRun};
use poolkeeper::report::style::Style;
use poolkeeper::report::waits::waits_text;
use poolkeeper::sandbox::{Fate, Generation, SshFate};

use crate::scene::{PROVIDER, Scene};

fn status(scene: &Scene, format: Format) -> String {
    let mut out = Vec::new();
    let args = StatusArgs { format };
    show(&args, &scene.desired, &scene.world, &|| scene.world.now(), Style::plain(), &mut out).expect("a status");
    String::from_utf8(out).expect("UTF-8")
}

fn waits(scene: &Scene) -> String {
    let observed = observe(&scene.world, &scene.desired, &ThisRun::default(), &|| scene.world.now());
    let joined = join(&scene.desired, &observed, scene.world.now());
    waits_text(&scene.plan(), &joined, &[], Style::plain())
}

#[test]
fn look() {
    let mut scene = Scene::new(Generation::J2_462);
    scene.pool().min_ready = 3;
    scene.converge();
    println!("{}", status(&scene, Format::Text));
    println!("{}", waits(&scene));
    let name = scene.names()[0].clone();
    scene.world.start_build(&Scene::target(), &name, 100);
    scene.world.add_server(&PROVIDER.into(), "debug-trusty", &[]);
    let pool = scene.pool().name.clone();
    scene.world.pool_fate(&pool, Fate { ssh: SshFate::Never, ..Fate::default() });
    for _ in 0..7 {
        scene.timer();
    }
    scene.world.mark_by_person(&Scene::target(), &scene.names()[1], "alice", "disk full");
    println!("{}", status(&scene, Format::Text));
    println!("{}", waits(&scene));
    scene.world.begin_outage(Source::Target(Scene::target()), "connect timed out after 10s");
    println!("{}", status(&scene, Format::Text));
    scene.world.begin_outage(Source::Provider(PROVIDER.into()), "HTTP 503");
    println!("{}", status(&scene, Format::Text));
    scene.world.end_outage(&Source::Provider(PROVIDER.into()));
    scene.world.end_outage(&Source::Target(Scene::target()));
    scene.desired.pools.clear();
    println!("{}", status(&scene, Format::Text));
    println!("{}", waits(&scene));
    println!("{}", status(&scene, Format::Json));
}
