//! The steps of a chain in plain words.

use crate::plan::Act;

/// What is asked of a service, for people: `Act::kind` is for programs.
pub fn words(act: &Act) -> &'static str {
    match act {
        Act::CreateServer(_) => "create the server",
        Act::SetMarks { .. } => "write that on the server, as a mark",
        Act::ClearMark { .. } => "take its mark off the server",
        Act::Unlock { .. } => "unlock the server",
        Act::DeleteServer { .. } => "delete the server",
        Act::CreateFloatingIp(_) => "create a floating IP",
        Act::DeleteFloatingIp { .. } => "release the floating IP",
        Act::PushScripts(_) => "push the scripts",
        Act::StartScript(_) => "start the script",
        Act::CreateAgent(_) => "register the agent",
        Act::MarkOffline { .. } => "take the agent offline",
        Act::LiftMark { .. } => "take the agent's offline mark off",
        Act::DeleteAgent { .. } => "remove the agent",
        Act::StartAgent(_) => "start the agent",
        Act::TurnOff(_) => "clean up and switch off",
        Act::CreateImage(_) => "make its image",
        Act::MarkImage { .. } => "mark the image",
        Act::ProtectImage { .. } => "protect the image, or lift that",
        Act::RenameImage { .. } => "rename the image",
        Act::DeleteImage { .. } => "delete the image",
    }
}
