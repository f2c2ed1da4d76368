//! An agent's config.xml: its description alone, which carries our mark where the list does not show it.

/// The text of the first `<description>`; empty when there is none. Nothing else of the file is looked at, so that no XML
/// reader is needed: `XStream` writes one element a line and escapes what is markup.
pub(super) fn description(xml: &str) -> String {
    let inside = xml.split_once("<description>").and_then(|(_, rest)| rest.split_once("</description>"));
    let text = inside.map_or("", |(text, _)| text);
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    entities.iter().fold(text.to_owned(), |text, (entity, plain)| text.replace(entity, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_alone_is_read() {
        let xml =
            "<slave>\n  <name>a</name>\n  <description>x &lt;y&gt; &amp; [poolkeeper controller=c ]</description>\n</slave>";
        assert_eq!(description(xml), "x <y> & [poolkeeper controller=c ]");
        assert_eq!(description("<slave><description/></slave>"), "");
    }
}
