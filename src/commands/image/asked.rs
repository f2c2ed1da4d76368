//! What `image publish` is asked to set, against an image that is there already: what is otherwise is said, and not changed.

use serde_json::{Map, Value};

use super::Undone;
use crate::cli::UploadArgs;
use crate::live::machine::remote_command::quote;

/// What clap sets where nothing is said: then nothing is asked for.
const CONTAINER: &str = "bare";

/// The image's field or property, its value as asked for, and how `openstack image set` says it; none: Glance changes it no more.
struct Asked<'a> {
    key: &'a str,
    value: String,
    option: Option<String>,
}

fn asked(args: &UploadArgs) -> Vec<Asked<'_>> {
    let UploadArgs { provider: _, disk_format, container_format, min_disk, min_ram, property, lock_timeout: _ } = args;
    let mut asked = Vec::new();
    let container_format = Some(container_format).filter(|format| *format != CONTAINER);
    for (key, format) in [("disk_format", disk_format.as_ref()), ("container_format", container_format)] {
        asked.extend(format.map(|format| Asked { key, value: format.clone(), option: None }));
    }
    for (key, option, least) in [("min_disk", "--min-disk", *min_disk), ("min_ram", "--min-ram", *min_ram)] {
        if least > 0 {
            asked.push(Asked { key, value: least.to_string(), option: Some(format!("{option} {least}")) });
        }
    }
    for (key, value) in property {
        asked.push(Asked { key, value: value.clone(), option: Some(format!("--property {}", quote(&format!("{key}={value}")))) });
    }
    asked
}

/// Whether anything is.
pub fn asks(args: &UploadArgs) -> bool {
    !asked(args).is_empty()
}

/// None: all is as asked for. `image` in words, `id` of it, `about` it: Glance's own answer.
pub fn otherwise(args: &UploadArgs, image: &str, id: &str, about: &Map<String, Value>) -> Option<Undone> {
    let (mut said, mut options, mut is_fixed) = (Vec::new(), Vec::new(), false);
    for Asked { key, value, option } in asked(args) {
        let has = match about.get(key) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(other) => Some(other.to_string()),
        };
        if has.as_ref() == Some(&value) {
            continue;
        }
        said.push(has.map_or_else(|| format!("{key} is not set"), |has| format!("{key} is `{has}`")));
        is_fixed |= option.is_none();
        options.extend(option);
    }
    if said.is_empty() {
        return None;
    }
    let hint = if is_fixed {
        format!("nothing was changed; Glance changes no format: rename {id}, and publish again")
    } else {
        format!("nothing was changed; `openstack image set {} {id}` does it", options.join(" "))
    };
    Some(Undone::new(format!("{image}, but not as asked for: {}", said.join(", ")), &hint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;
    use serde_json::json;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: UploadArgs,
    }

    #[test]
    fn what_is_asked_for_and_otherwise_is_said_with_the_command_that_sets_it() {
        let about = json!({ "disk_format": "qcow2", "min_disk": 5, "min_ram": 0, "os_distro": null, "x": "y" });
        let about = about.as_object().expect("a map");
        let said = |arguments: &[&str]| {
            let line = Line::parse_from([&["publish"], arguments].concat());
            let undone = otherwise(&line.args, "ci is there", "7f", about)?;
            Some(format!("{undone} | {}", undone.hint().unwrap_or_default()))
        };
        assert_eq!(said(&[]), None);
        assert_eq!(said(&["--disk-format", "qcow2", "--min-disk", "5", "--property", "x=y"]), None);
        assert_eq!(
            said(&["--min-disk", "6", "--min-ram", "512", "--property", "os_distro=debian"]).as_deref(),
            Some(
                "ci is there, but not as asked for: min_disk is `5`, min_ram is `0`, os_distro is not set | nothing was changed; \
                 `openstack image set --min-disk 6 --min-ram 512 --property 'os_distro=debian' 7f` does it"
            )
        );
        // As it is pasted, a shell reads the value again.
        let quoted = said(&["--property", "note=it's $HOME"]).expect("not set");
        assert!(quoted.ends_with(r"`openstack image set --property 'note=it'\''s $HOME' 7f` does it"), "{quoted}");
        let format = said(&["--disk-format", "raw"]).expect("another format");
        assert!(format.contains("disk_format is `qcow2`") && format.ends_with("rename 7f, and publish again"), "{format}");
    }
}
