//! Servers that become images: what each second brings, what Nova and Glance refuse, what is inherited.

use std::collections::BTreeMap;

use super::play::{Play, digest, play};
use crate::desired::Clean;
use crate::names::{ImageId, ServerId};
use crate::observed::{Answer, Ask, Image, ImageMark, MachineAsk, Object, ScriptState, ServerStatus};
use crate::plan::{Act, CreateImage, TurnOff};
use crate::sandbox::{Delays, Fate, Generation, SaveFate};
use crate::world::{ActErrorKind, Done, World as _};

fn turn_off(play: &Play, id: &ServerId) -> Act {
    Act::TurnOff(Box::new(TurnOff { machine: play.machine(id), clean: vec![Clean::MachineId] }))
}

fn create_image(play: &Play, id: &ServerId, marks: &[(ImageMark, &str)]) -> Act {
    Act::CreateImage(Box::new(CreateImage {
        provider: play.provider.clone(),
        server: id.clone(),
        name: "snap".into(),
        marks: marks.iter().map(|(mark, value)| (*mark, (*value).to_owned())).collect(),
        properties: BTreeMap::from([("hw_disk_bus".to_owned(), "virtio".to_owned())]),
    }))
}

/// The image of that name.
fn snap(play: &Play) -> Option<Image> {
    play.world.with(|state| {
        let images = state.clouds[&play.provider].images.iter();
        images.map(|image| image.seen.clone()).find(|image| image.name == "snap")
    })
}

fn state(play: &Play, id: &ServerId) -> (String, Option<String>) {
    let task = play.world.server(&play.provider, id).and_then(|server| server.task);
    (snap(play).map_or_else(|| "gone".to_owned(), |image| image.status), task)
}

/// A builder whose script has passed.
fn builder(play: &Play) -> ServerId {
    let id = play.launch("n1");
    play.world.tick(20);
    assert_eq!(play.world.act(&play.push(&id)), Ok(Done::Done));
    assert_eq!(play.world.act(&play.start_script(&id)), Ok(Done::Done));
    play.world.tick(10);
    assert_eq!(play.script(&id), ScriptState::Passed);
    id
}

#[test]
fn a_machine_that_is_told_to_goes_off_and_nova_sees_it_later() {
    let play = play(Generation::J2_462);
    let id = builder(&play);
    let off = turn_off(&play, &id);
    assert_eq!(play.world.act(&off), Ok(Done::Done));
    assert_eq!(play.world.act(&off), Ok(Done::Done), "as long as it is on");
    play.world.tick(1);
    assert_eq!(play.world.act(&off).map_err(|error| error.kind), Err(ActErrorKind::NotNow), "it is off");
    assert_eq!(play.status(&id), Some(ServerStatus::Active), "Nova has not seen it");
    play.world.tick(2);
    assert_eq!(play.status(&id), Some(ServerStatus::Shutoff));
}

#[test]
fn one_that_stays_on_can_be_told_again() {
    let play = play(Generation::J2_462);
    play.world.next_fate(Fate { never_off: true, ..Fate::default() });
    let id = builder(&play);
    for _ in 0..2 {
        assert_eq!(play.world.act(&turn_off(&play, &id)), Ok(Done::Done));
        play.world.tick(60);
        assert_eq!(play.status(&id), Some(ServerStatus::Active));
        assert_eq!(play.script(&id), ScriptState::NotStarted, "what it was is cleaned");
    }
}

#[test]
fn an_image_is_queued_then_saved_then_active() {
    let play = play(Generation::J2_462);
    let id = builder(&play);
    let create = create_image(&play, &id, &[]);
    assert_eq!(play.world.act(&create), Ok(Done::Done), "ACTIVE will do");
    assert_eq!(state(&play, &id), ("queued".into(), Some("image_snapshot_pending".into())));
    let refused = play.world.act(&create).expect_err("a task is in the way");
    assert_eq!(refused.kind, ActErrorKind::NotNow);
    assert!(refused.said.contains("'createImage' instance") && refused.said.contains("task_state image_snapshot_pending"));
    play.world.tick(3);
    assert_eq!(state(&play, &id), ("saving".into(), Some("image_uploading".into())));
    play.world.tick(3);
    assert_eq!(state(&play, &id), ("active".into(), None));
    assert!(snap(&play).is_some_and(|image| image.size.is_some()));
}

#[test]
fn nova_saves_no_server_that_is_not_there_yet() {
    let play = play(Generation::J2_462);
    let id = play.launch("n1");
    let refused = play.world.act(&create_image(&play, &id, &[])).expect_err("BUILD");
    assert!(refused.kind == ActErrorKind::NotNow && refused.said.contains("vm_state building"), "{refused}");
    let gone = play.world.act(&create_image(&play, &"nowhere".into(), &[])).expect_err("no server");
    assert_eq!(gone.kind, ActErrorKind::Refused);
}

#[test]
fn what_a_save_comes_to() {
    let cases = [
        (SaveFate::NeverSaves, "queued", Some("image_snapshot_pending")),
        (SaveFate::Stuck, "saving", Some("image_uploading")),
        (SaveFate::Killed, "killed", None),
        (SaveFate::Fails, "gone", None),
    ];
    for (save, image, task) in cases {
        let play = play(Generation::J2_462);
        play.world.next_fate(Fate { save, ..Fate::default() });
        let id = builder(&play);
        play.world.act(&create_image(&play, &id, &[])).expect("accepted");
        play.world.tick(600);
        assert_eq!(state(&play, &id), (image.to_owned(), task.map(str::to_owned)), "{save:?}");
        assert_eq!(play.world.act(&play.delete(&id)), Ok(Done::Done));
        assert_eq!(snap(&play).is_some(), image != "gone", "{save:?}: its server takes nothing along");
    }
    let play = play(Generation::J2_462);
    let id = builder(&play);
    play.world.act(&create_image(&play, &id, &[])).expect("accepted");
    assert_eq!(play.world.act(&play.delete(&id)), Ok(Done::Done));
    assert_eq!(snap(&play), None, "Nova drops what it was saving");
}

#[test]
fn a_snapshot_inherits_what_the_call_does_not_overwrite() {
    let play = play(Generation::J2_462);
    play.world.with(|state| {
        let base = &mut state.clouds.get_mut(&play.provider).expect("a cloud").images[0].seen.properties;
        for (key, value) in
            [("poolkeeper_controller", "contint"), ("poolkeeper_self", "base"), ("os_distro", "debian"), ("img_signature", "x")]
        {
            base.insert(key.to_owned(), value.to_owned());
        }
    });
    let id = builder(&play);
    play.world.act(&create_image(&play, &id, &[(ImageMark::Itself, ""), (ImageMark::Build, id.as_str())])).expect("accepted");
    let properties = snap(&play).expect("an image").properties;
    let has = |key: &str| properties.get(key).map(String::as_str);
    assert_eq!((has("poolkeeper_controller"), has("os_distro")), (Some("contint"), Some("debian")), "inherited");
    assert_eq!((has("poolkeeper_self"), has("poolkeeper_build")), (Some(""), Some(id.as_str())), "overwritten");
    assert_eq!((has("img_signature"), has("hw_disk_bus")), (None, Some("virtio")));
    assert_eq!((has("instance_uuid"), has("image_type")), (Some(id.as_str()), Some("snapshot")));
    let object = Object { image: Some((play.provider.clone(), snap(&play).expect("an image").id)), ..Object::default() };
    let read = play.world.read(&object).expect("an answer").image.expect("asked for").expect("there");
    assert!(read.properties.keys().all(|key| key.starts_with("poolkeeper_")), "{:?}", read.properties);
}

#[test]
fn a_server_of_a_snapshot_has_its_disk_and_ignores_another_servers_state() {
    for off in [false, true] {
        let play = play(Generation::J2_462);
        let id = builder(&play);
        if off {
            play.world.act(&turn_off(&play, &id)).expect("on");
            play.world.tick(5);
        }
        play.world.act(&create_image(&play, &id, &[])).expect("accepted");
        play.world.tick(6);
        let image = snap(&play).expect("an image").id;
        play.world.with(|state| state.clouds.get_mut(&play.provider).expect("a cloud").images.retain(|one| one.seen.id == image));
        let node = play.launch("n2");
        play.world.tick(20);
        let disk = play.world.with(|state| state.machines[&node].disk.clone());
        assert!(disk.scripts.is_some_and(|scripts| scripts.files.contains_key("ready.sh")));
        assert_eq!((disk.runs.contains_key(&id), disk.cleaned.len()), (!off, usize::from(off)), "what nobody cleaned is there");
        assert_eq!(play.script(&node), ScriptState::NotStarted, "and is another server's");
        assert_ne!(play.machine(&node).pinned, play.machine_key(&id), "a host key of its own");
        assert_eq!(play.world.act(&play.start_script(&node)), Ok(Done::Done));
    }
}

#[test]
fn marks_names_and_protection_of_an_image() {
    let play = play(Generation::J2_462);
    let image = play.world.with(|state| state.clouds[&play.provider].images[0].seen.id.clone());
    let provider = || play.provider.clone();
    let act = |act: Act| play.world.act(&act).map_err(|error| error.kind);
    let marks = BTreeMap::from([(ImageMark::Itself, image.to_string())]);
    assert_eq!(act(Act::MarkImage { provider: provider(), image: image.clone(), marks }), Ok(Done::Done));
    assert_eq!(act(Act::RenameImage { provider: provider(), image: image.clone(), name: "old".into() }), Ok(Done::Done));
    let protect = |protected| Act::ProtectImage { provider: provider(), image: image.clone(), protected };
    let delete = |id: &ImageId| Act::DeleteImage { provider: provider(), image: id.clone() };
    assert_eq!(act(protect(true)), Ok(Done::Done));
    assert_eq!(act(delete(&image)), Err(ActErrorKind::Refused), "it is protected");
    let seen = play.world.with(|state| state.clouds[&play.provider].images[0].listed());
    assert_eq!((seen.name.as_str(), seen.protected), ("old", true));
    assert_eq!(seen.properties, BTreeMap::from([("poolkeeper_self".to_owned(), image.to_string())]));
    assert_eq!(act(protect(false)), Ok(Done::Done));
    assert_eq!(act(delete(&image)), Ok(Done::Done));
    assert_eq!(act(delete(&image)), Ok(Done::Already));
    assert_eq!(act(protect(true)), Err(ActErrorKind::Refused), "it is gone");
}

#[test]
fn a_whole_log_is_of_a_machine_that_is_up() {
    let play = play(Generation::J2_462);
    let id = builder(&play);
    let login = play.login(&id);
    let ask = |pinned| {
        let (provider, server, login) = (play.provider.clone(), id.clone(), login.clone());
        Ask::ScriptLog(MachineAsk { provider, server, login, pinned, script: digest(), workspace: None })
    };
    let pinned = Some(play.machine(&id).pinned);
    assert_eq!(play.world.answer(&ask(pinned.clone())).ok(), Some(Answer::ScriptLog("all well".into())));
    play.world.power(&id, false);
    assert!(play.world.answer(&ask(pinned)).is_err());
}

#[test]
fn nova_may_take_its_time_to_see_a_machine_off() {
    let play = play(Generation::J2_462);
    play.world.set_delays(Delays { off: 600, ..Delays::default() });
    let id = builder(&play);
    play.world.act(&turn_off(&play, &id)).expect("on");
    play.world.tick(599);
    assert_eq!(play.status(&id), Some(ServerStatus::Active));
    play.world.tick(1);
    assert_eq!(play.status(&id), Some(ServerStatus::Shutoff));
}
