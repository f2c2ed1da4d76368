//! `image publish`: whose name is taken, and when.

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
