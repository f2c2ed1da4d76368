//! `explain`: each state as a person reads it, and what is said when a name is nobody's or several nodes'.

use poolkeeper::cli::{ExplainArgs, Format};
use poolkeeper::commands::explain::show;
use poolkeeper::observed::{ServerStatus, Source};
use poolkeeper::report::style::Style;
use poolkeeper::sandbox::{BuildFate, Fate, Generation, ScriptFate, SshFate};

use crate::scene::{PROVIDER, Scene};

fn explain(scene: &Scene, node: &str, format: Format) -> anyhow::Result<String> {
    let args = ExplainArgs { node: node.to_owned(), format };
    let mut out = Vec::new();
    show(&args, &scene.desired, &scene.world, &|| scene.world.now(), Style::plain(), &mut out)?;
    Ok(String::from_utf8(out).expect("UTF-8"))
}

fn text(scene: &Scene, node: &str) -> String {
    explain(scene, node, Format::Text).expect("a node")
}

fn said(scene: &Scene, node: &str) -> String {
    explain(scene, node, Format::Text).expect_err("no node").to_string()
}

fn filled() -> (Scene, String) {
    let scene = Scene::new(Generation::J2_462);
    scene.converge();
    let name = scene.names().first().expect("two nodes").clone();
    (scene, name)
}

/// A pool of one whose machine comes to this, after so many runs of the timer.
fn fated(fate: Fate, runs: u32) -> (Scene, String) {
    let mut scene = Scene::new(Generation::J2_462);
    scene.pool().min_ready = 1;
    let pool = scene.pool().name.clone();
    scene.world.pool_fate(&pool, fate);
    for _ in 0..runs {
        scene.timer();
    }
    let name = scene.names().first().expect("a node").clone();
    (scene, name)
}

#[test]
fn look() {
    let show = |scene: &Scene, name: &str| println!("{}\n", text(scene, name));
    let (scene, name) = filled();
    show(&scene, &name);
    scene.world.start_build(&Scene::target(), &name, 100);
    show(&scene, &name);
    scene.timer();
    scene.world.tick(100);
    show(&scene, &name);
    let (scene, name) = filled();
    scene.world.mark_gearman(&Scene::target(), &name);
    show(&scene, &name);
    scene.world.begin_outage(Source::Target(Scene::target()), "connect timed out after 10s");
    show(&scene, &name);
    let (scene, name) = filled();
    scene.world.mark_by_person(&Scene::target(), &name, "alice", "disk full \u{1b}[31m");
    scene.world.tick(600);
    show(&scene, &name);
    let (scene, name) = filled();
    scene.world.power(&scene.servers()[0].id, false);
    show(&scene, &name);
    scene.timer();
    scene.world.tick(60);
    show(&scene, &name);
    let (scene, name) = fated(Fate { ssh: SshFate::Never, ..Fate::default() }, 1);
    show(&scene, &name);
    for _ in 0..7 {
        scene.timer();
    }
    show(&scene, &name);
    let (scene, name) = fated(Fate { silent_console: true, ..Fate::default() }, 1);
    show(&scene, &name);
    let (scene, name) = fated(Fate { ssh: SshFate::LoginRefused, ..Fate::default() }, 1);
    show(&scene, &name);
    let (scene, name) =
        fated(Fate { script: ScriptFate::Exits { status: 3, output: "apt\nno space\n".into() }, ..Fate::default() }, 1);
    show(&scene, &name);
    let (scene, name) = fated(Fate { script: ScriptFate::Hangs, ..Fate::default() }, 1);
    show(&scene, &name);
    let (scene, name) = fated(Fate { build: BuildFate::Error("No valid host was found".into()), ..Fate::default() }, 1);
    show(&scene, &name);
    let (scene, name) = fated(Fate { build: BuildFate::Stuck, ..Fate::default() }, 1);
    show(&scene, &name);
    let (scene, name) = fated(Fate { agent: poolkeeper::sandbox::AgentFate::NeverOnline, ..Fate::default() }, 1);
    show(&scene, &name);
    let (scene, name) = filled();
    scene.world.change_server(&scene.servers()[0].id, |server| server.locked = Some(true));
    show(&scene, &name);
    scene.world.change_server(&scene.servers()[0].id, |server| {
        server.locked = Some(false);
        server.status = ServerStatus::Other("SHELVED".into());
    });
    show(&scene, &name);
    let (mut scene, name) = filled();
    scene.desired.pools.clear();
    show(&scene, &name);
    let (scene, name) = filled();
    scene.world.with(|state| state.jenkins.values_mut().for_each(|jenkins| jenkins.nodes.clear()));
    show(&scene, &name);
    println!("{}", said(&scene, "ci"));
    println!("{}", said(&scene, &format!("{name}x")));
    println!("{}", said(&scene, "colour"));
    let _ = PROVIDER;
}
