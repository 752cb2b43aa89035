//! DOCX (Office Open XML, ECMA-376): headings by style, numbered lists as Word shows them, tables, notes, text boxes.
//!
//! Deleted text of tracked changes and hidden text are left out. A DOCX has no pages of its own: Word lays them out
//! anew on each machine, so no page numbers are given.

mod body;
mod numbering;
mod package;
mod styles;

use super::FormatError;
use super::builder::Builder;
use crate::document::Extracted;

/// See [`super::fingerprint`].
pub const VERSION: u32 = 1;

/// Reads a DOCX file.
pub fn read(bytes: &[u8]) -> Result<Extracted, FormatError> {
    let mut package = package::Package::open(bytes)?;
    let main = package.main_part()?;
    let folder = main.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
    let document = package.required(&main)?;
    let mut part = |name: &str| package.optional(&format!("{folder}/{name}"));
    let styles = styles::Styles::parse(&part("styles.xml")?)?;
    let numbering = numbering::Numbering::parse(&part("numbering.xml")?)?;
    let footnotes = part("footnotes.xml")?;
    let endnotes = part("endnotes.xml")?;
    let core = package.optional("docProps/core.xml")?;

    let mut builder = Builder::default();
    builder.title(&styles::core_title(&core)?);
    let mut body = body::Body::new(&mut builder, &styles, numbering);
    for xml in [&document, &footnotes, &endnotes] {
        body.read(xml)?;
    }
    builder.finish("the document has no text; it may hold only pictures")
}

/// A part of the package that is not readable XML.
fn damaged(reason: impl Into<String>) -> FormatError {
    FormatError::Damaged { format: "DOCX".to_owned(), reason: reason.into() }
}

/// Turns an XML error into ours. The parser's message may quote the document, so only its place is kept.
fn xml_error(reader: &quick_xml::Reader<&[u8]>) -> FormatError {
    damaged(format!("its XML is broken at byte {} of a part", reader.error_position()))
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use zip::write::SimpleFileOptions;

    use super::*;
    use crate::document::BlockKind::{self, Heading, ListItem, Paragraph, Table};

    fn docx(parts: &[(&str, &str)]) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in parts {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(content.as_bytes()).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn document(body: &str) -> String {
        format!("<?xml version=\"1.0\"?><w:document xmlns:w=\"w\"><w:body>{body}</w:body></w:document>")
    }

    fn blocks(bytes: &[u8]) -> Vec<(BlockKind, String)> {
        let out = read(bytes).unwrap();
        out.blocks.iter().map(|block| (block.kind, out.text[block.range.clone()].to_owned())).collect()
    }

    const STYLES: &str = "<w:styles xmlns:w='w'><w:style w:styleId='Ttulo1'><w:name w:val='heading 1'/></w:style>\
        <w:style w:styleId='Mine'><w:basedOn w:val='Ttulo1'/><w:name w:val='Mine'/></w:style></w:styles>";
    const NUMBERING: &str = "<w:numbering xmlns:w='w'><w:abstractNum w:abstractNumId='7'>\
        <w:lvl w:ilvl='0'><w:start w:val='1'/><w:numFmt w:val='decimal'/><w:lvlText w:val='%1.'/></w:lvl>\
        <w:lvl w:ilvl='1'><w:start w:val='1'/><w:numFmt w:val='lowerLetter'/><w:lvlText w:val='%1.%2)'/></w:lvl></w:abstractNum>\
        <w:num w:numId='1'><w:abstractNumId w:val='7'/></w:num></w:numbering>";

    #[test]
    fn structure_and_what_is_left_out() {
        let item = |level: u8, text: &str| {
            format!(
                "<w:p><w:pPr><w:numPr><w:ilvl w:val='{level}'/><w:numId w:val='1'/></w:numPr></w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"
            )
        };
        let cell = |inside: &str| format!("<w:tc>{inside}<w:p><w:r><w:t>c</w:t></w:r></w:p></w:tc>");
        let body = format!(
            "<w:p><w:pPr><w:pStyle w:val='Mine'/></w:pPr><w:r><w:t>Política</w:t></w:r></w:p>\
             <w:p><w:r><w:t xml:space='preserve'>Se </w:t></w:r><w:del><w:r><w:delText>no </w:delText><w:t>no</w:t></w:r></w:del>\
             <w:ins><w:r><w:t>paga &amp; &#243;k</w:t></w:r></w:ins><w:r><w:rPr><w:vanish/></w:rPr><w:t>oculto</w:t></w:r>\
             <w:r><w:instrText>HYPERLINK</w:instrText><w:br/><w:t>fin</w:t></w:r></w:p>{}{}{}{}\
             <w:tbl><w:tr>{}{}</w:tr><w:tr>{}{}</w:tr></w:tbl>",
            item(0, "uno"),
            item(1, "a"),
            item(1, "b"),
            item(0, "dos"),
            cell("<w:tcPr><w:vMerge w:val='restart'/></w:tcPr>"),
            cell(""),
            "<w:tc><w:tcPr><w:vMerge/></w:tcPr><w:p/></w:tc>",
            cell("<w:p><w:r><w:t>más</w:t></w:r></w:p>"),
        );
        let notes = "<w:footnotes xmlns:w='w'><w:footnote w:type='separator'><w:p><w:r><w:t>-</w:t></w:r></w:p></w:footnote>\
                     <w:footnote w:id='1'><w:p><w:r><w:t>Nota.</w:t></w:r></w:p></w:footnote></w:footnotes>";
        let bytes = docx(&[
            ("word/document.xml", &document(&body)),
            ("word/styles.xml", STYLES),
            ("word/numbering.xml", NUMBERING),
            ("word/footnotes.xml", notes),
            ("docProps/core.xml", "<c xmlns:dc='d'><dc:title>Mi título</dc:title></c>"),
        ]);
        let expected = [
            (Heading(1), "Política"),
            (Paragraph, "Se paga & ók\nfin"),
            (ListItem, "1. uno"),
            (ListItem, "1.a) a"),
            (ListItem, "1.b) b"),
            (ListItem, "2. dos"),
            (Table, "c | c\nc | más c"),
            (Paragraph, "Nota."),
        ];
        assert_eq!(blocks(&bytes), expected.map(|(kind, text)| (kind, text.to_owned())));
        assert_eq!(read(&bytes).unwrap().title.as_deref(), Some("Mi título"));
    }

    #[test]
    fn what_is_no_docx_says_what_it_is() {
        let message = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
        assert!(message(b"hello").contains("not a zip"));
        let ole = [b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".as_slice(), &[0; 600]].concat();
        assert!(message(&ole).contains(".doc"));
        let name: Vec<u8> = "EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(matches!(read(&[ole, name].concat()), Err(FormatError::Encrypted { .. })));
        assert!(message(&docx(&[("other.txt", "x")])).contains("word/document.xml"));
        assert!(matches!(read(&docx(&[("word/document.xml", &document(""))])), Err(FormatError::NoText { .. })));
        assert!(message(&docx(&[("word/document.xml", "<a><b></a>")])).contains("XML"));
    }

    #[test]
    fn a_bomb_is_refused_and_nesting_is_bounded() {
        let bomb = document(&" ".repeat(300 << 20));
        assert!(matches!(read(&docx(&[("word/document.xml", &bomb)])), Err(FormatError::TooLarge { .. })));
        let deep = document(&("<w:tbl><w:tr><w:tc>".repeat(20_000) + "<w:p><w:r><w:t>x</w:t></w:r></w:p>"));
        assert!(read(&docx(&[("word/document.xml", &deep)])).is_err());
    }
}
