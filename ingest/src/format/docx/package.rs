//! The zip package around a DOCX and its parts.

use std::io::{Cursor, Read};

use quick_xml::Reader;
use quick_xml::events::Event;
use zip::ZipArchive;
use zip::result::ZipError;

use super::{damaged, xml_error};
use crate::format::FormatError;

/// The most that one part may unpack to. The longest books are far below; zip bombs are far above.
const MAX_PART: u64 = 128 << 20;

/// The first bytes of an OLE compound file.
const OLE: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";

/// An open package.
pub struct Package<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
}

impl<'a> Package<'a> {
    /// Opens a package.
    pub fn open(bytes: &'a [u8]) -> Result<Self, FormatError> {
        if bytes.starts_with(OLE) {
            return Err(ole_error(bytes));
        }
        if !bytes.starts_with(b"PK") {
            return Err(damaged("it is not a zip archive, as every DOCX is: export it again"));
        }
        let zip = ZipArchive::new(Cursor::new(bytes))
            .map_err(|_| damaged("its zip archive is broken or cut off: copy or export it again"))?;
        Ok(Self { zip })
    }

    /// Name of the part with the document's text.
    pub fn main_part(&mut self) -> Result<String, FormatError> {
        let relations = self.optional("_rels/.rels")?;
        let mut reader = Reader::from_str(&relations);
        loop {
            match reader.read_event().map_err(|_| xml_error(&reader))? {
                Event::Start(tag) | Event::Empty(tag) if tag.local_name().as_ref() == "Relationship" => {
                    let value = |key: &str| attribute(&tag, key).unwrap_or_default();
                    if value("Type").ends_with("/officeDocument") {
                        return Ok(value("Target").trim_start_matches('/').to_owned());
                    }
                }
                Event::Eof => return Ok("word/document.xml".to_owned()),
                _ => {}
            }
        }
    }

    /// A part that must be there.
    pub fn required(&mut self, name: &str) -> Result<String, FormatError> {
        let text = self.optional(name)?;
        if text.is_empty() { Err(damaged(format!("the part {name} is missing"))) } else { Ok(text) }
    }

    /// A part that may be missing: then it is empty.
    pub fn optional(&mut self, name: &str) -> Result<String, FormatError> {
        let mut part = match self.zip.by_name(name) {
            Ok(part) => part,
            Err(ZipError::FileNotFound) => return Ok(String::new()),
            Err(ZipError::UnsupportedArchive(reason)) if reason == ZipError::PASSWORD_REQUIRED => {
                return Err(FormatError::Encrypted { mend: "unpack it with its password and add it again".to_owned() });
            }
            Err(_) => return Err(damaged("its zip archive is broken: copy or export it again")),
        };
        let mut bytes = Vec::new();
        part.by_ref()
            .take(MAX_PART + 1)
            .read_to_end(&mut bytes)
            .map_err(|_| damaged("a part of its zip archive is broken or cut off: copy or export it again"))?;
        if bytes.len() as u64 > MAX_PART {
            let limit = format!("{} MiB", MAX_PART >> 20);
            return Err(FormatError::TooLarge { what: "a part of the archive, unpacked,".to_owned(), limit });
        }
        Ok(crate::format::decode::xml(&bytes))
    }
}

/// The value of an attribute by its name without prefix.
pub fn attribute(tag: &quick_xml::events::BytesStart<'_>, key: &str) -> Option<String> {
    let attribute =
        tag.attributes().with_checks(false).flatten().find(|attribute| attribute.key.local_name().as_ref() == key)?;
    let value: &str = attribute.value.as_ref();
    Some(quick_xml::escape::unescape(value).map_or_else(|_| value.to_owned(), |value| value.into_owned()))
}

/// An OLE file in place of a zip: an encrypted document, or one of the Word of before 2007.
fn ole_error(bytes: &[u8]) -> FormatError {
    let name: Vec<u8> = "EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes).collect();
    if bytes.windows(name.len()).any(|window| window == name) {
        let mend = "open it in Word with its password, remove the password (File, Info, Protect Document) and save it"
            .to_owned();
        return FormatError::Encrypted { mend };
    }
    damaged("it is an old binary Word document (.doc): save it as .docx")
}
