//! `image publish`: whose name is taken, and when; what is said where the image is there already, or was taken away.

use std::io::{BufRead as _, BufReader, Read as _};

use poolkeeper::lock::try_lock;
use poolkeeper::observed::Image;
use poolkeeper::sandbox::{Drop, Stop};

use crate::publish::{CLOUD, again, done, images, killed, names, publish, scene, served, settled, text, theirs};

#[test]
fn a_publish_that_is_killed_between_its_renames_leaves_the_name_to_boot_from() {
    let served = served();
    let (path, new) = scene(&served);
    let stop = Stop::Like { begins: "PATCH", ends: "", after: 0 };
    killed(&served, &path, stop, Drop::AfterEffect).expect("it came so far");
    let all = images(&served);
    let newest = poolkeeper::observed::image::newest(&all, "ci-base").expect("one of the name");
    assert_eq!(newest.properties.get("poolkeeper_publish_sha256"), Some(&new.sha256));
    let said = again(&served, &path, "the next call");
    assert!(
        said.starts_with("renamed   the old ci-base (") && said.contains("\nthere     ci-base is these very bytes"),
        "{said}"
    );
    settled(&served, &new, "the next call");
}

#[test]
fn the_name_of_another_deployments_image_is_not_taken() {
    let served = served();
    let (path, _) = scene(&served);
    let of_another = |image: &mut Image| drop(image.properties.insert("poolkeeper_publish".to_owned(), "another".to_owned()));
    served.world.with(|state| {
        let images = &mut state.clouds.get_mut(CLOUD).expect("a cloud").images;
        images.iter_mut().filter(|image| image.seen.name == "ci-base").for_each(|image| of_another(&mut image.seen));
    });
    let before = done(&served, "upload-image");
    let output = publish(&served, &path);
    let talk = text(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{talk}");
    assert!(
        talk.contains("was published by the deployment `another`, which boots from it") && talk.contains("  hint: "),
        "{talk}"
    );
    assert_eq!(done(&served, "upload-image"), before, "it is said before the upload");
    assert_eq!(names(&served), ["ci-base".to_owned(), theirs(), "debian-12".to_owned()]);
}

#[test]
fn what_is_asked_of_an_image_that_is_there_already_is_not_passed_over() {
    let served = served();
    let (path, new) = scene(&served);
    let path = path.to_string_lossy().into_owned();
    let asked = ["image", "publish", &path, "ci-base", "--min-disk", "5", "--property", "os_distro=debian"];
    // A call without these options was killed before its image had its name: that upload is not gone on with.
    let stop = Stop::Like { begins: "PATCH", ends: "", after: 0 };
    killed(&served, path.as_ref(), stop, Drop::BeforeEffect).expect("it came so far");
    let said = served.done(&asked, "with options");
    assert!(said.starts_with("deleted   what an earlier call had left"), "{said}");
    settled(&served, &new, "with options");
    let said = served.done(&asked, "the same again");
    assert!(said.starts_with("there     ci-base is these very bytes already"), "{said}");

    let other = ["image", "publish", &path, "ci-base", "--min-disk", "6", "--property", "os_distro=debian"];
    let output = served.poolkeeper(&other).output().expect("the binary");
    let talk = text(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{talk}");
    for words in ["is these very bytes already", "but not as asked for: min_disk is `5`\n", "`openstack image set --min-disk 6 "]
    {
        assert!(talk.contains(words), "{words}: {talk}");
    }
}

#[test]
fn one_whose_image_another_publish_deletes_says_what_happened() {
    let served = served();
    let (path, _) = scene(&served);
    let lock = try_lock(&served.desired.controller.lock_file).expect("free");
    let mut child = served.poolkeeper(&["image", "publish", &path.to_string_lossy(), "ci-new"]).spawn().expect("the binary");
    let mut out = BufReader::new(child.stdout.take().expect("its output"));
    let mut line = String::new();
    while !line.starts_with("checked ") {
        line.clear();
        assert_ne!(out.read_line(&mut line).expect("a line"), 0, "it waits for the lock, its data up");
    }
    // As another call does that begins now, under the lock.
    served.world.with(|state| {
        let images = &mut state.clouds.get_mut(CLOUD).expect("a cloud").images;
        images.retain(|image| !image.seen.name.starts_with("ci-new_new_"));
    });
    drop(lock);
    let mut talk = String::new();
    child.stderr.take().expect("its talk").read_to_string(&mut talk).expect("text");
    assert_eq!(child.wait().expect("its end").code(), Some(5), "{talk}");
    for words in
        ["is not published as ci-new: its image ", "was deleted while this call was at work", "hint: another `image publish`"]
    {
        assert!(talk.contains(words), "{words}: {talk}");
    }
}
