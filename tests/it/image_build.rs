//! `image build`: what cannot be published is said before anything is built.

use std::fs;
use std::process::Command;

use crate::publish::{CLOUD, served, text};

#[test]
fn what_cannot_be_published_is_not_built() {
    let served = served();
    let state = served.desired_state();
    let (bin, called) = (state.join("../bin"), state.join("../called"));
    for folder in [&bin, &state.join("images")] {
        fs::create_dir_all(folder).expect("a folder");
    }
    let image = format!(
        "providers: [{CLOUD}]\nbase-image: debian-base\nflavor: m1.small\nsetup-script: ready.sh\nscript-dir: scripts\n\
         private-key: '{}'\ndiskimage: {{elements: [debian]}}\n",
        state.join("../id_ed25519").display()
    );
    fs::write(state.join("images/base.yaml"), image).expect("a file");
    // In place of diskimage-builder's: another program's, that another process writes.
    let script = format!("printf '#!/bin/sh\\n>%s\\nexit 1\\n' '{}' >disk-image-create; chmod 755 *", called.display());
    assert!(Command::new("sh").args(["-c", &script]).current_dir(&bin).status().expect("a shell").success());
    let build = |more: &[&str], clouds: &str| {
        let directory = bin.to_string_lossy().into_owned();
        let mut command = served.poolkeeper(&[&["image", "build", "base", "--directory", &directory], more].concat());
        command.env("PATH", format!("{directory}:/usr/bin:/bin"));
        if !clouds.is_empty() {
            command.env("OS_CLIENT_CONFIG_FILE", clouds);
        }
        let output = command.output().expect("the binary");
        let ran = called.exists() && fs::remove_file(&called).is_ok();
        (output.status.code(), ran, text(&output.stderr))
    };
    let refused = |(code, ran, talk): (Option<i32>, bool, String), expected: i32, words: &str| {
        assert!(code == Some(expected) && !ran && talk.contains(words), "{words}: {code:?}, {ran}: {talk}");
    };
    refused(build(&["--provider", "cloud-7"], ""), 2, "there is no such provider");
    refused(build(&[], "/nonexistent/clouds.yaml"), 5, "/nonexistent/clouds.yaml");
    let (_, ran, _) = build(&["--no-publish"], "/nonexistent/clouds.yaml");
    assert!(ran, "what is not published needs no cloud");
    let controller = state.join("controller.yaml");
    let settings = fs::read_to_string(&controller).expect("a file");
    let lock = settings.lines().find(|line| line.starts_with("lock-file:")).expect("a lock");
    fs::write(&controller, settings.replace(lock, "lock-file: /nonexistent/lock")).expect("a file");
    refused(build(&[], ""), 1, "the lock file /nonexistent/lock cannot be opened");
}
