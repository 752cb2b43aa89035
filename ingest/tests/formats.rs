//! The readers through their front door, on real files of each format, whole and damaged.

use std::time::Instant;

use intramuros_ingest::document::BlockKind::{self, Heading, ListItem, Paragraph, Table};
use intramuros_ingest::document::{Extracted, RawDocument};
use intramuros_ingest::format::{FormatError, extract};

/// A committed file.
fn file(name: &str) -> RawDocument {
    let path = format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
    RawDocument { path: name.to_owned(), bytes: std::fs::read(path).expect("the file is committed") }
}

fn read(name: &str) -> Extracted {
    extract(&file(name)).expect(name)
}

fn blocks(extracted: &Extracted) -> Vec<(BlockKind, &str)> {
    extracted.blocks.iter().map(|block| (block.kind, &extracted.text[block.range.clone()])).collect()
}

/// What every reader promises of what it gives.
fn check_contract(extracted: &Extracted) {
    let mut end = 0;
    for block in &extracted.blocks {
        assert!(block.range.start >= end && block.range.start < block.range.end);
        let between = &extracted.text[end..block.range.start];
        assert!(between.trim().is_empty() && (end == 0 || between.contains('\n')), "{between:?}");
        let text = &extracted.text[block.range.clone()];
        let trimmed = if block.kind == BlockKind::Code { text.trim_end() } else { text.trim() };
        assert_eq!(trimmed, text);
        assert_eq!(extracted.page_at(block.range.start), block.page);
        end = block.range.end;
    }
    assert_eq!(end, extracted.text.len());
    assert!(extracted.page_starts.is_sorted());
    assert!(!extracted.text.contains(['\u{ad}', '\u{200b}', '\u{feff}', '\r', '\0']));
}

#[test]
fn a_pdf_has_headings_items_tables_and_pages() {
    let manual = read("manual.pdf");
    check_contract(&manual);
    assert_eq!(manual.title.as_deref(), Some("Manual de viajes"));
    assert_eq!(manual.page_starts.len(), 6);
    let blocks = blocks(&manual);
    let head = [
        (Paragraph, "Manual de viajes, edición interna"),
        (Heading(1), "Manual de viajes"),
        (
            Paragraph,
            "Este manual dice qué gastos paga la compañía y cómo se piden. La señora Núñez, de Administración, responde a \
             las dudas sobre dietas, alojamiento y kilometraje en toda España.",
        ),
        (Heading(2), "Dietas"),
    ];
    assert_eq!(blocks[..4], head);
    let tail = [
        (ListItem, "- Pedir la autorización antes del viaje."),
        (ListItem, "- Guardar todos los recibos."),
        (ListItem, "- Entregar la nota de gastos en treinta días."),
        (Heading(2), "Alojamiento"),
        (
            Table,
            "Ciudad | Límite por noche | Observaciones\nMadrid | 120 euros | sin desayuno\nBarcelona | 130 euros | con desayuno\n\
             Sevilla | 95 euros | temporada baja\nBilbao | 105 euros | sin desayuno",
        ),
        (Heading(2), "Kilometraje"),
    ];
    assert_eq!(blocks[5..11], tail);
    // Running header and page numbers are gone from the later pages; the text says on which page it stands.
    assert_eq!(manual.text.matches("edición interna").count(), 1);
    assert!(!manual.text.contains("Página"));
    let at = manual.text.find("El apartado 3").expect("third section");
    assert_eq!(manual.page_at(at), Some(4));
    assert_eq!(manual.blocks.last().and_then(|block| block.page), Some(6));
}

#[test]
fn columns_are_read_in_order_and_broken_words_joined() {
    let columns = read("columns.pdf");
    check_contract(&columns);
    let blocks = blocks(&columns);
    assert_eq!(blocks.len(), 4);
    assert_eq!(blocks[0], (Heading(1), "Two columns of one article about contracts"));
    assert!(blocks[1].1.contains("of their obligations and") && blocks[1].1.ends_with("alpha."));
    assert!(blocks[2].1.starts_with("The second column") && blocks[2].1.ends_with("omega."));
    assert!(blocks[3].1.starts_with("A last line"));
}

#[test]
fn what_a_reader_of_the_page_cannot_see_is_left_out() {
    assert_eq!(read("hidden.pdf").text, "Visible sentence for the reader.");
}

#[test]
fn a_pdf_without_text_or_with_a_password_says_so() {
    let message = |name: &str| extract(&file(name)).expect_err(name).to_string();
    assert!(message("scan.pdf").contains("OCR"));
    assert!(message("password.pdf").contains("password"));
    assert!(matches!(extract(&file("password.pdf")), Err(FormatError::Encrypted { .. })));
    assert_eq!(read("owner-only.pdf").text, "Protected sentence.");
    let named =
        |bytes: &[u8]| extract(&RawDocument { path: "a.pdf".to_owned(), bytes: bytes.to_vec() }).expect_err("bad");
    assert_eq!(named(b""), FormatError::Empty);
    assert!(named(b"hello, this is text").to_string().contains("does not begin"));
    assert!(matches!(named(b"%PDF-1.7\n%%EOF"), FormatError::Damaged { .. }));
}

#[test]
fn a_cut_pdf_gives_text_or_a_reason() {
    let whole = file("manual.pdf");
    let half = RawDocument { path: whole.path.clone(), bytes: whole.bytes[..whole.bytes.len() / 2].to_vec() };
    match extract(&half) {
        Ok(extracted) => check_contract(&extracted),
        Err(error) => assert!(error.to_string().contains("cut off") || error.to_string().contains("no "), "{error}"),
    }
}

#[test]
fn a_docx_from_word_processing_has_its_structure() {
    let policy = read("policy.docx");
    check_contract(&policy);
    let expected = [
        (Heading(1), "Política de contraseñas"),
        (Heading(1), "Ámbito"),
        (Paragraph, "Esta política vale para toda la compañía, también para proveedores."),
        (Heading(2), "Longitud"),
        (ListItem, "- Catorce caracteres"),
        (ListItem, "- Sin caducidad"),
        (ListItem, "1. Primero"),
        (ListItem, "2. Segundo"),
        (Table, "Cuenta | Mínimo | Revisión\nUsuario | 14 | anual\nAdministrador | 20 | mensual"),
    ];
    assert_eq!(blocks(&policy), expected);
    assert_eq!(policy.title.as_deref(), Some("Política de contraseñas"));
    assert!(policy.page_starts.is_empty());
}

#[test]
fn latin_1_text_is_read_and_noted() {
    let text = read("latin1.txt");
    check_contract(&text);
    assert!(text.text.contains("Señores") && text.text.contains("¿Quién traerá"));
    assert!(text.warnings[0].contains("windows-1252"));
}

#[test]
fn a_file_is_read_as_what_it_is() {
    let mut misnamed = file("columns.pdf");
    misnamed.path = "columns.txt".to_owned();
    let extracted = extract(&misnamed).expect("a PDF");
    assert!(extracted.text.starts_with("Two columns") && extracted.warnings[0].contains("PDF"));
    let mut text = file("latin1.txt");
    text.path = "a.docx".to_owned();
    assert!(extract(&text).expect_err("text").to_string().contains("not a zip"));
}

#[test]
fn reading_twice_gives_the_same() {
    for name in ["manual.pdf", "columns.pdf", "policy.docx"] {
        assert_eq!(read(name), read(name));
    }
}

/// Small random numbers without a crate for them (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

#[test]
fn damaged_files_never_panic_and_keep_the_contract() {
    let html = RawDocument {
        path: "a.html".to_owned(),
        bytes: b"<html><head><title>t&amp;</title></head><body><nav>x</nav><main><h1>A</h1><ul><li>b<table><tr><td rowspan=2>c\
                 <td>d<tr><td>e</table></ul><pre> f </pre><p hidden>g</p>h<br>i &#x41; &nope; <!-- j --></main></body></html>"
            .to_vec(),
    };
    let markdown = RawDocument {
        path: "a.md".to_owned(),
        bytes: "---\ntitle: x\n---\n# A\n\n- b\n  1. c\n\n| d | e |\n|---|---|\n| ñ | g |\n\n> h\n\n```\ni\n```\n<div>j</div>\n[k](l)[^1]\n\n[^1]: m\n"
            .as_bytes()
            .to_vec(),
    };
    let files = ["manual.pdf", "columns.pdf", "hidden.pdf", "owner-only.pdf", "policy.docx", "latin1.txt"];
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let begun = Instant::now();
    let mut readable = 0;
    for whole in files.map(file).into_iter().chain([html, markdown]) {
        for round in 0..120 {
            let mut raw = whole.clone();
            if round % 2 == 0 {
                raw.bytes.truncate(random.below(whole.bytes.len()));
            }
            for _ in 0..round % 8 {
                if !raw.bytes.is_empty() {
                    let at = random.below(raw.bytes.len());
                    raw.bytes[at] ^= 1 << random.below(8);
                }
            }
            if let Ok(extracted) = extract(&raw) {
                check_contract(&extracted);
                readable += 1;
            }
        }
    }
    assert!(readable > 100, "{readable} readable of 960 after {:?}", begun.elapsed());
}
