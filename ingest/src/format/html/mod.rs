//! HTML: the main content of a page without navigation, scripts, styles and what is hidden.
//!
//! [`tags`] turns any tag soup into a balanced list of events with bounded nesting, [`blocks`] turns the events into
//! blocks in one loop: neither recurses, so a page cannot overflow the stack.

mod blocks;
mod table;
mod tags;

use encoding_rs::Encoding;

use super::builder::Builder;
use super::{FormatError, decode};
use crate::document::Extracted;

/// See [`super::fingerprint`].
pub const VERSION: u32 = 1;

/// How far into a file a declaration of its encoding may stand (the HTML standard says 1024 bytes; real pages need more).
const DECLARATION: usize = 4096;

/// Reads an HTML file.
pub fn read(bytes: &[u8]) -> Result<Extracted, FormatError> {
    let decoded = decode::decode(bytes, declared_encoding(bytes), "HTML")?;
    let mut builder = Builder::default();
    if let Some(warning) = decoded.warning {
        builder.warn(warning);
    }
    let soup = tags::balance(&decoded.text);
    if soup.flattened {
        builder.warn("elements nested very deeply were flattened");
    }
    blocks::add(blocks::main_content(&soup.events), &mut builder);
    if let Some(title) = &soup.title {
        builder.title(title);
    }
    builder.finish("the page holds no visible text; its content may be loaded by scripts")
}

/// Adds the text of a piece of HTML that stands inside another document.
pub fn add_fragment(html: &str, builder: &mut Builder) {
    let soup = tags::balance(html);
    blocks::add(&soup.events, builder);
}

/// The encoding that a `<meta charset>`, `<meta http-equiv>` or an XML declaration names.
fn declared_encoding(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = bytes[..bytes.len().min(DECLARATION)].to_ascii_lowercase();
    let head = String::from_utf8_lossy(&head);
    for key in ["charset", "encoding"] {
        for (at, _) in head.match_indices(key) {
            let rest = head[at + key.len()..].trim_start();
            let Some(value) = rest.strip_prefix('=') else { continue };
            let value = value.trim_start().trim_start_matches(['"', '\'']);
            let end = value.find(|c: char| !c.is_ascii_alphanumeric() && !"-_:.".contains(c)).unwrap_or(value.len());
            if let Some(encoding) = Encoding::for_label(&value.as_bytes()[..end]) {
                return Some(encoding);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::BlockKind::{self, Code, Heading, ListItem, Paragraph, Table};

    fn blocks(html: &str) -> Vec<(BlockKind, String)> {
        let out = read(html.as_bytes()).unwrap();
        out.blocks.iter().map(|block| (block.kind, out.text[block.range.clone()].to_owned())).collect()
    }

    fn owned<const N: usize>(expected: [(BlockKind, &str); N]) -> Vec<(BlockKind, String)> {
        expected.into_iter().map(|(kind, text)| (kind, text.to_owned())).collect()
    }

    #[test]
    fn main_content_with_its_structure() {
        let html = "<!doctype html><html><head><title>Vacaciones &mdash; Intranet</title><style>p{}</style></head><body>\
            <nav><ul><li>Inicio</ul></nav><header><p>Cabecera</p></header>\
            <main><h1>Vacaciones</h1><p>Cada persona tiene <b>23&nbsp;d&iacute;as</b>.<br>Se piden\n antes.\
            <p style='display: none'>oculto</p><div hidden>oculto</div>\
            <ol start=3><li>uno<ul><li>dos</ul><li><p>tres</p><p>cuatro</p></ol>\
            <table><caption>D&iacute;as</caption><tr><th>A&ntilde;o<th colspan=2>D&iacute;as<tr><td rowspan=2>2024<td>23<td>x<tr><td>24<td>y</table>\
            <pre>a\n  b</pre><img alt='plano de la oficina' src=x></main><footer>Pie</footer></body></html>";
        let expected = owned([
            (Heading(1), "Vacaciones"),
            (Paragraph, "Cada persona tiene 23 días.\nSe piden antes."),
            (ListItem, "3. uno"),
            (ListItem, "- dos"),
            (ListItem, "4. tres\ncuatro"),
            (Paragraph, "Días"),
            (Table, "Año | Días\n2024 | 23 | x\n2024 | 24 | y"),
            (Code, "a\n  b"),
            (Paragraph, "plano de la oficina"),
        ]);
        assert_eq!(blocks(html), expected);
        assert_eq!(read(html.as_bytes()).unwrap().title.as_deref(), Some("Vacaciones — Intranet"));
    }

    #[test]
    fn a_page_without_main_loses_only_its_navigation() {
        let html = "<body><div class='navbar'>menú</div><header>logo</header><div><h2>Hola</h2>texto<p>más</div>\
                    <article><header><h3>Nota</h3></header>x</article><footer>pie</footer><script>1<2</script>";
        let expected = owned([
            (Heading(2), "Hola"),
            (Paragraph, "texto"),
            (Paragraph, "más"),
            (Heading(3), "Nota"),
            (Paragraph, "x"),
        ]);
        assert_eq!(blocks(html), expected);
    }

    #[test]
    fn layout_tables_are_not_tables() {
        let html = "<table><tr><td><h2>A</h2><p>one</p></td><td><table><tr><td>k</td><td>v</td></tr></table></td></tr></table>";
        assert_eq!(blocks(html), owned([(Heading(2), "A"), (Paragraph, "one"), (Table, "k | v")]));
    }

    #[test]
    fn misnested_and_unclosed_tags_lose_no_text() {
        let html = "<div><b><p>one</b> two</p><i>three</div> four <li>five</span><td>six";
        let all: Vec<String> = blocks(html).into_iter().map(|(_, text)| text).collect();
        assert_eq!(all.join("/"), "one two/three/four/- five\nsix");
    }

    #[test]
    fn encodings_are_declared() {
        let html = b"<meta charset=iso-8859-1><p>a\xf1o".as_slice();
        assert_eq!(read(html).unwrap().text, "año");
        let html = b"<meta http-equiv='Content-Type' content='text/html; charset=windows-1251'><p>\xcf".as_slice();
        assert_eq!(read(html).unwrap().text, "П");
    }

    #[test]
    fn hundred_thousand_nested_tags() {
        for tag in ["div", "b", "table><tr><td", "ul><li", "blockquote"] {
            let html = format!("<{tag}>").repeat(100_000) + "core" + &"</div>".repeat(100_000) + "after";
            let out = read(html.as_bytes()).unwrap();
            assert!(out.text.contains("core") && out.text.contains("after"), "{tag}");
        }
    }

    #[test]
    fn spans_cannot_multiply_the_text() {
        let html = format!(
            "<table><tr><td rowspan=65534 colspan=9999>{}</td></tr>{}</table>",
            "x".repeat(50_000),
            "<tr><td>y</td></tr>".repeat(2000)
        );
        assert!(read(html.as_bytes()).unwrap().text.len() < 1 << 20);
    }
}
