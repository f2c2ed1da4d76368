//! `image publish` beside another one, and after its reader went away.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Child;

use poolkeeper::lock::try_lock;

use crate::publish::{CLOUD, content, data, digests, images, names, scene, served, theirs, write};
use crate::served::Served;

fn begun(served: &Served, path: &std::path::Path) -> Child {
    let arguments = ["-v", "image", "publish", &path.to_string_lossy(), "ci-base"];
    served.poolkeeper(&arguments).spawn().expect("the binary")
}

/// Whichever comes first: one image of the name, whole, and nothing half made.
#[test]
fn of_two_publishes_at_one_time_one_has_the_name_and_nothing_is_left_half_made() {
    let served = served();
    let contents = [content(1), content(2)];
    let paths = ["1", "2"].map(|name| write(&served, name, &contents[usize::from(name == "2")]));
    let children = paths.each_ref().map(|path| begun(&served, path));
    let codes = children.map(|child| child.wait_with_output().expect("its end").status.code());
    assert!(codes.contains(&Some(0)) && codes.iter().all(|code| [Some(0), Some(5)].contains(code)), "{codes:?}");
    let named = names(&served).into_iter().filter(|name| name == "ci-base").count();
    let has = data(&served, "ci-base");
    assert!(named == 1 && contents.iter().any(|one| has == Some(digests(one))), "{:?}", names(&served));
    let others: Vec<String> = names(&served).into_iter().filter(|name| name != "ci-base" && name != "debian-12").collect();
    assert!(others.iter().all(|name| name.starts_with("ci-base_old_")), "{others:?}");
    assert_eq!(others.len() + 1, codes.iter().filter(|code| **code == Some(0)).count(), "who said so has an image there");
    assert!(images(&served).iter().all(|image| image.status == "active"));
}

/// What looked half made was given its name while the lock was waited for.
#[test]
fn what_another_publish_finished_meanwhile_is_not_deleted() {
    let served = served();
    let (path, new) = scene(&served);
    let lock = try_lock(&served.desired.controller.lock_file).expect("it is free");
    let mut child = begun(&served, &path);
    let mut talk = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut line = String::new();
    while !line.contains("waiting for it") {
        line.clear();
        assert_ne!(talk.read_line(&mut line).expect("its words"), 0, "it never waited for the lock");
    }
    let finished = served.world.with(|state| {
        let images = &mut state.clouds.get_mut(CLOUD).expect("a cloud").images;
        let (name, theirs) = ("ci-base", theirs());
        let half_made = |image: &str| image.starts_with("ci-base") && image != name && image != theirs;
        let image = images.iter_mut().find(|image| half_made(&image.seen.name)).expect("what an earlier call left");
        (image.seen.name, image.seen.status) = (name.to_owned(), "active".to_owned());
        image.seen.id.clone()
    });
    drop(lock);
    let mut rest = String::new();
    talk.read_to_string(&mut rest).expect("its words");
    assert_eq!(child.wait().expect("its end").code(), Some(0), "{rest}");
    assert!(images(&served).iter().any(|image| image.id == finished && image.name.starts_with("ci-base_old_")), "{rest}");
    assert_eq!(data(&served, "ci-base"), Some(new));
}

#[test]
fn a_publish_whose_reader_went_away_goes_on_to_its_end() {
    let served = served();
    let (path, new) = scene(&served);
    let mut child = begun(&served, &path);
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("its end");
    assert_eq!((output.status.code(), data(&served, "ci-base")), (Some(0), Some(new)));
}
