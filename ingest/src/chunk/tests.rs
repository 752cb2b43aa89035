use super::*;
use crate::document::{Block, BlockKind};
use crate::sync::embedding_text;

/// Words and marks, about as a word piece model counts them.
fn count(text: &str) -> usize {
    let mut tokens = 0;
    let mut in_word = false;
    for c in text.chars() {
        if c.is_alphanumeric() {
            tokens += usize::from(!in_word);
            in_word = true;
        } else {
            tokens += usize::from(!c.is_whitespace());
            in_word = false;
        }
    }
    tokens
}

fn document(blocks: &[(BlockKind, &str)]) -> Extracted {
    let mut extracted = Extracted::default();
    for (kind, text) in blocks {
        if !extracted.text.is_empty() {
            extracted.text.push_str(if *kind == BlockKind::ListItem { "\n" } else { "\n\n" });
        }
        let start = extracted.text.len();
        extracted.text.push_str(text);
        extracted.blocks.push(Block { kind: *kind, range: start..extracted.text.len(), page: None });
    }
    extracted
}

fn split_to(extracted: &Extracted, target_tokens: usize, max_tokens: usize) -> Vec<Chunk> {
    let settings = ChunkSettings { target_tokens, max_tokens };
    split(extracted, &Splitting { settings, title: "T", language: None, count_tokens: &count })
}

fn words(n: usize) -> String {
    let mut text = (0..n - 1).map(|i| format!("w{i}")).collect::<Vec<_>>().join(" ");
    text.push_str(" end.");
    text
}

use BlockKind::{Code, Heading, ListItem, Paragraph, Table};

#[test]
fn headings_become_the_path_and_sections_are_not_mixed() {
    let (a, b) = (words(60), words(70));
    let extracted = document(&[
        (Heading(1), "Guía"),
        (Heading(2), "Viajes"),
        (Paragraph, &a),
        (Heading(2), "Pagos"),
        (Paragraph, &b),
    ]);
    let chunks = split_to(&extracted, 200, 240);
    assert_eq!(chunks.iter().map(|chunk| chunk.text.as_str()).collect::<Vec<_>>(), [&a, &b]);
    assert_eq!(chunks[0].section, ["Guía", "Viajes"]);
    assert_eq!(chunks[1].section, ["Guía", "Pagos"]);
    let characters: Vec<char> = extracted.text.chars().collect();
    for chunk in &chunks {
        assert_eq!(characters[chunk.start..chunk.end].iter().collect::<String>(), chunk.text);
    }
    assert_eq!((chunks[0].position, chunks[1].position), (0, 1));
}

#[test]
fn tiny_sections_take_the_next_one_in_with_its_heading() {
    let extracted = document(&[
        (Heading(1), "Preguntas"),
        (Heading(2), "¿Dónde pido el portátil?"),
        (Paragraph, "En recepción."),
        (Heading(2), "¿Quién paga?"),
        (Paragraph, "La empresa."),
        (Heading(1), "Otra cosa"),
        (Paragraph, &words(150)),
    ]);
    let chunks = split_to(&extracted, 200, 240);
    assert_eq!(chunks.len(), 2);
    assert_eq!(chunks[0].text, "¿Dónde pido el portátil?\n\nEn recepción.\n\n¿Quién paga?\n\nLa empresa.");
    assert_eq!(chunks[0].section, ["Preguntas"]);
    assert_eq!(chunks[1].section, ["Otra cosa"]);
}

#[test]
fn a_heading_without_text_is_text_unless_it_has_headings_below() {
    let extracted =
        document(&[(Heading(1), "Manual"), (Heading(2), "Vacío"), (Heading(2), "Lleno"), (Paragraph, &words(100))]);
    let chunks = split_to(&extracted, 100, 240);
    assert_eq!(chunks[0].text, "Vacío");
    assert_eq!(chunks[0].section, ["Manual"]);
    assert_eq!(chunks[1].section, ["Manual", "Lleno"]);
    assert!(!chunks[1].text.contains("Lleno"));
    assert_eq!(chunks.len(), 2);
}

#[test]
fn a_list_or_table_that_fits_is_never_torn_and_keeps_its_intro() {
    let filler = words(150);
    let intro = "Para pedir un viaje hacen falta estos datos:";
    let items: Vec<String> = (0..9).map(|i| format!("el dato número {i} con {}", words(8))).collect();
    let mut blocks = vec![(Heading(1), "Viajes"), (Paragraph, filler.as_str()), (Paragraph, intro)];
    blocks.extend(items.iter().map(|item| (ListItem, item.as_str())));
    blocks.push((Paragraph, &filler));
    let chunks = split_to(&document(&blocks), 200, 240);
    let holder = chunks.iter().find(|chunk| chunk.text.contains("dato número 0")).unwrap();
    assert!(holder.text.starts_with(intro), "{}", holder.text);
    assert!(holder.text.contains("dato número 8"));

    let table = "| Destino | Euros |\n| Madrid | 53,34 |\n| Lisboa | 48,10 |";
    let blocks = [
        (Paragraph, filler.as_str()),
        (Paragraph, "Tabla 2. Dietas por destino"),
        (Table, table),
        (Paragraph, &filler),
    ];
    let chunks = split_to(&document(&blocks), 160, 240);
    let holder = chunks.iter().find(|chunk| chunk.text.contains("Lisboa")).unwrap();
    assert!(holder.text.contains("Tabla 2.") && holder.text.contains("Destino"), "{}", holder.text);
}

#[test]
fn a_table_too_long_is_cut_between_rows_and_code_between_lines() {
    let rows: Vec<String> = (0..80).map(|i| format!("| producto {i} | {i},50 € |")).collect();
    let table = rows.join("\n");
    for kind in [Table, Code] {
        let chunks = split_to(&document(&[(kind, &table)]), 100, 120);
        assert!(chunks.len() > 3);
        for chunk in &chunks {
            assert!(chunk.text.lines().all(|line| rows.iter().any(|row| row == line)), "{}", chunk.text);
            assert!(count(&chunk.text) <= 120);
        }
    }
}

#[test]
fn sentences_stay_whole_and_no_leftover_remains() {
    let text = (0..30)
        .map(|i| format!("El art. {i} dice que el Sr. Pérez pagó la suma de {i},50 euros."))
        .collect::<Vec<_>>()
        .join(" ");
    let chunks = split_to(&document(&[(Paragraph, &text)]), 100, 120);
    assert!(chunks.len() > 3);
    for chunk in &chunks {
        assert!(chunk.text.starts_with("El art. ") && chunk.text.ends_with("euros."), "{}", chunk.text);
        assert!(count(&chunk.text) >= 50, "{}", chunk.text);
    }
}

#[test]
fn a_sentence_too_long_is_cut_at_clauses_into_like_pieces() {
    let clauses = (0..26).map(|i| format!("la cota {i} del barranco de nombre largo")).collect::<Vec<_>>().join(", ");
    let text = format!("Desde {clauses}.");
    let chunks = split_to(&document(&[(Paragraph, &text)]), 100, 120);
    assert_eq!(chunks.len(), 2);
    for chunk in &chunks {
        assert!(chunk.text.ends_with([',', '.']), "{}", chunk.text);
        assert!(count(&chunk.text) >= 90, "{}", count(&chunk.text));
    }
}

#[test]
fn long_titles_and_paths_leave_room_for_the_text() {
    let long = "palabra ".repeat(300);
    let title = fit_title(&long, 100, &count);
    assert!(count(&title) <= 25 && !title.is_empty());
    assert_eq!(fit_title(&"x".repeat(4000), 100, &|text| text.len()).len(), 25);
    let headings: Vec<String> = (0..6).map(|i| format!("apartado {i} {}", words(12))).collect();
    let mut blocks: Vec<_> =
        headings.iter().enumerate().map(|(i, text)| (Heading(i as u8 + 1), text.as_str())).collect();
    let body = words(300);
    blocks.push((Paragraph, &body));
    let settings = ChunkSettings { target_tokens: 80, max_tokens: 100 };
    let chunks =
        split(&document(&blocks), &Splitting { settings, title: &title, language: None, count_tokens: &count });
    assert!(chunks.len() >= 4);
    for chunk in &chunks {
        assert!(count(&embedding_text(&title, chunk)) <= 100);
        assert_eq!(chunk.section, &headings[5..]);
    }
}

#[test]
fn pages_and_languages_are_those_of_the_chunk() {
    let spanish =
        "El trabajador tiene derecho a treinta días naturales de vacaciones por cada año de servicio en la empresa.";
    let english = "The employee is entitled to thirty calendar days of leave for each year of service with the company, as agreed.";
    let mut extracted = document(&[(Paragraph, spanish), (Paragraph, english), (Paragraph, "Total 3")]);
    extracted.page_starts = vec![0, spanish.len() + 1];
    let settings = ChunkSettings { target_tokens: 20, max_tokens: 30 };
    let how = Splitting { settings, title: "T", language: Some(Language::Spanish), count_tokens: &count };
    let chunks = split(&extracted, &how);
    assert_eq!(chunks[0].language, Some(Language::Spanish));
    assert_eq!(chunks[0].page, Some(1));
    let other = chunks.iter().find(|chunk| chunk.text.contains("entitled")).unwrap();
    assert_eq!((other.language, other.page), (Some(Language::English), Some(2)));
}

#[test]
fn nothing_in_nothing_out() {
    assert_eq!(split_to(&Extracted::default(), 200, 240), []);
    assert_eq!(split_to(&document(&[(Paragraph, " \n\u{a0} ")]), 200, 240), []);
}

/// A small generator of repeatable noise.
struct Noise(u64);

impl Noise {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }

    fn text(&mut self, pieces: usize) -> String {
        const PIECES: &[&str] = &[
            "palabra",
            "niño",
            "pagó.",
            "Sr.",
            "1.234,56",
            "¿qué?",
            "EE. UU.",
            "a",
            ",",
            ";",
            "x\u{301}\u{302}",
            "👩‍👩‍👧‍👦",
            "\u{200b}",
            "\u{202e}",
            "日本語。",
            "…",
            "«fin».",
            "(c)",
            "|",
            "\u{feff}",
            "ﬃ",
            "Ωmega",
            ":",
            "etc.",
            "unapalabramuylargaquenoacabanunca",
            "\u{0}",
            "https://a.example/b?c=d",
            "\u{1F1EA}\u{1F1F8}",
        ];
        let mut text = String::new();
        for _ in 0..pieces {
            text.push_str(PIECES[self.below(PIECES.len())]);
            text.push_str([" ", " ", " ", "", "\n", "\u{a0}", "\r\n"][self.below(7)]);
        }
        text
    }
}

/// Characters outside headings that are not white space, and those of all chunks, by their byte offsets.
fn check(extracted: &Extracted, chunks: &[Chunk], title: &str, max: usize, count: &dyn Fn(&str) -> usize) {
    let characters: Vec<(usize, char)> = extracted.text.char_indices().collect();
    let mut held = vec![0_u8; characters.len()];
    let mut last_end = 0;
    for (i, chunk) in chunks.iter().enumerate() {
        assert_eq!(chunk.position as usize, i);
        assert!(chunk.start >= last_end && chunk.end > chunk.start);
        last_end = chunk.end;
        let slice: String = characters[chunk.start..chunk.end].iter().map(|(_, c)| c).collect();
        assert_eq!(slice, chunk.text);
        assert_eq!(chunk.text.trim(), chunk.text);
        held[chunk.start..chunk.end].iter_mut().for_each(|times| *times += 1);
        let one_character =
            unicode_segmentation::UnicodeSegmentation::graphemes(chunk.text.as_str(), true).count() == 1;
        assert!(count(&embedding_text(title, chunk)) <= max || one_character, "{:?}", chunk);
    }
    for (i, (offset, c)) in characters.iter().enumerate() {
        let in_heading =
            extracted.blocks.iter().any(|block| matches!(block.kind, Heading(_)) && block.range.contains(offset));
        assert!(
            c.is_whitespace() || held[i] == 1 || (in_heading && held[i] == 0),
            "character {i} {c:?} held {}",
            held[i]
        );
    }
}

#[test]
fn whatever_the_document_all_of_its_text_is_in_exactly_one_chunk() {
    let by_characters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).count();
    let by_bytes = |text: &str| text.len().div_ceil(3);
    let counts: [&dyn Fn(&str) -> usize; 3] = [&count, &by_characters, &by_bytes];
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    for round in 0..400 {
        let mut extracted = Extracted::default();
        for _ in 0..noise.below(25) {
            let kind =
                [Heading(1), Heading(2), Heading(3), Paragraph, Paragraph, Paragraph, ListItem, ListItem, Table, Code];
            let kind = kind[noise.below(kind.len())];
            let size = if matches!(kind, Heading(_)) { noise.below(8) } else { [4, 30, 200][noise.below(3)] };
            let start = extracted.text.len();
            extracted.text.push_str(&noise.text(size));
            // Now and then a block that no reader should give: it forgets some of the text.
            let end = if noise.below(20) == 0 { start } else { extracted.text.len() };
            extracted.blocks.push(Block { kind, range: start..end, page: None });
            extracted.text.push_str("\n\n");
        }
        let settings = ChunkSettings { target_tokens: 40 + noise.below(30), max_tokens: 75 };
        let count_tokens = counts[round % counts.len()];
        let title = fit_title(&noise.text(6), settings.max_tokens, count_tokens);
        let how = Splitting { settings, title: &title, language: None, count_tokens };
        let chunks = split(&extracted, &how);
        check(&extracted, &chunks, &title, settings.max_tokens, count_tokens);
        assert_eq!(chunks, split(&extracted, &how), "the same document gives the same chunks");
    }
}

#[test]
fn a_huge_word_and_a_huge_sentence_are_read_only_a_few_times() {
    for text in ["x".repeat(1 << 20), "word, ".repeat(200_000)] {
        let counted_bytes = std::cell::Cell::new(0);
        let count_tokens = |text: &str| {
            counted_bytes.set(counted_bytes.get() + text.len());
            count(text)
        };
        let settings = ChunkSettings { target_tokens: 200, max_tokens: 240 };
        let how = Splitting { settings, title: "T", language: None, count_tokens: &count_tokens };
        let chunks = split(&document(&[(Paragraph, &text)]), &how);
        assert!(chunks.iter().all(|chunk| chunk.text.len() <= 240 * MAX_BYTES_PER_TOKEN));
        let letters = |text: &str| text.matches(['x', 'w']).count();
        assert_eq!(chunks.iter().map(|chunk| letters(&chunk.text)).sum::<usize>(), letters(&text));
        assert!(counted_bytes.get() <= 8 * text.len(), "{} of {}", counted_bytes.get(), text.len());
    }
}
