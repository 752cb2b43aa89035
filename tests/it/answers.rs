//! Answers: what the model is given to read.

use serde_json::Value;

use crate::common::harness::{Ran, Scratch};

/// One section of several chunks, each of which says something about the same machine.
fn manual() -> String {
    let mut text = String::from("# Press 7\n\n## Maintenance\n\n");
    for week in 1..=40 {
        let oil = 20 + week;
        text.push_str(&format!(
            "In week {week} the operator checks the oil of the press, tops it up to {oil} litres and signs the sheet. "
        ));
        if week % 4 == 0 {
            text.push_str("\n\n");
        }
    }
    text
}

#[test]
fn neighbouring_chunks_are_read_as_one_passage() {
    let scratch = Scratch::new();
    scratch.write("manual.md", manual());
    scratch.ingest(&["--acl", "everyone"]);
    let question = "How much oil does the operator top up in the press?";
    let chunks: Vec<(u64, u64)> =
        scratch.search(question, None)["hits"].as_array().unwrap().iter().map(place).collect();
    let mut command = scratch.command(["--json", "ask", question, "--mode", "generate"]);
    command.env("INTRAMUROS_MODELS__CATALOG", scratch.catalog_of_readers());
    let answer = Ran::from(command.output().expect("the binary starts")).assert_ok().json();
    let passages = answer["provenance"]["passages"].as_array().unwrap();
    let (start, end) = place(&passages[0]);
    let inside = chunks.iter().filter(|chunk| chunk.0 >= start && chunk.1 <= end).count();
    assert!(inside >= 2, "{passages:?} of {chunks:?}");

    let listed = scratch.run(["--json", "documents"]).assert_ok().json();
    let id = listed["documents"][0]["document_id"].as_str().unwrap().to_owned();
    let text = scratch.run(["documents", "text", &id]).assert_ok().stdout;
    let slice: String = text.chars().skip(start as usize).take((end - start) as usize).collect();
    assert!(slice.starts_with("In week") && slice.ends_with("the sheet."), "{slice}");
    assert_eq!(passages[0]["sha256"], sha256(&slice), "the passage is not the document's own text");
}

#[test]
fn a_quote_of_a_table_is_one_row_with_the_header_that_names_its_cells() {
    let scratch = Scratch::new();
    let rows: Vec<String> = ["Madrid", "Sevilla", "Bilbao", "Valencia", "Zaragoza"]
        .iter()
        .zip([120, 95, 105, 98, 90])
        .map(|(city, limit)| format!("| {city} | {limit} euros | breakfast included |"))
        .collect();
    let table = format!("| City | Hotel limit per night | Note |\n|---|---|---|\n{}\n", rows.join("\n"));
    scratch.write("travel.md", format!("# Travel\n\n## Hotels\n\n{table}"));
    scratch.ingest(&["--acl", "everyone"]);
    let answer = scratch.ask("What is the hotel limit per night in Bilbao?", None, "extract");
    let quotes: Vec<&str> =
        answer["citations"].as_array().unwrap().iter().map(|citation| citation["quote"].as_str().unwrap()).collect();
    let header = "City | Hotel limit per night | Note";
    assert!(quotes.contains(&"Bilbao | 105 euros | breakfast included"), "{quotes:?}");
    assert_eq!(quotes.iter().filter(|quote| quote.contains(header)).count(), 1, "{quotes:?}");
    for quote in &quotes {
        let figures = quote.lines().filter(|line| line.contains("euros")).count();
        assert!(figures <= 1, "several rows in one quote: {quote}");
    }
    let text = answer["answer"].as_str().unwrap();
    assert!(text.find(header) < text.find("Bilbao"), "the header comes after the row: {text}");
}

#[test]
fn a_question_of_two_parts_is_answered_part_by_part() {
    let scratch = Scratch::new();
    scratch
        .write("lease.md", "# Lease of the mill\n\nThe notice period of the lease is 90 days. Rent is due monthly.\n");
    scratch.write("leave.md", "# Leave\n\nAnnual leave is approved by Marta Ruiz. It is asked for in the portal.\n");
    scratch.write("lamps.md", "# Lamps\n\nThe lamps are switched off at nine. The porter does it.\n");
    scratch.ingest(&["--acl", "everyone"]);
    let question = "How long is the notice period of the lease, and who approves annual leave?";
    let answer = scratch.ask(question, None, "extract");
    let text = answer["answer"].as_str().unwrap();
    assert!(text.contains("90 days") && text.contains("Marta Ruiz"), "{text}");
    let question = "How long is the notice period of the lease, and how tall is the volcano Popocatepetl?";
    let answer = scratch.ask(question, None, "extract");
    let text = answer["answer"].as_str().unwrap();
    assert!(text.contains("90 days") && text.contains("Not in the documents: how tall is the volcano"), "{text}");
    assert_eq!(answer["unanswered"][0], "how tall is the volcano Popocatepetl?");
    assert_eq!(answer["abstained"], false);
    let answer = scratch.ask("How long is the notice period of the lease, and how does it end?", None, "extract");
    let quotes: Vec<&Value> = answer["citations"].as_array().unwrap().iter().collect();
    assert!(quotes.iter().all(|quote| quotes.iter().filter(|other| other == &quote).count() == 1), "{answer}");
    assert_eq!(answer["answer"].as_str().unwrap().matches("90 days").count(), 1, "{answer}");
}

#[test]
fn a_language_that_the_model_does_not_write_gets_quotes_with_a_lead_in() {
    let scratch = Scratch::new();
    scratch.write(
        "mina.md",
        "# Alquiler\n\nLa renta mensual del molino es de 1.850 euros y se paga el día 5 de cada mes.\n",
    );
    scratch.ingest(&["--acl", "everyone"]);
    let answer = scratch.ask("¿Cuánto es la renta mensual del molino?", None, "generate");
    let text = answer["answer"].as_str().unwrap();
    assert!(text.starts_with("Textualmente:\n«") && text.contains("1.850 euros"), "{text}");
    assert_eq!((&answer["fell_back"], &answer["model"]), (&true.into(), &Value::Null));
}

fn place(value: &Value) -> (u64, u64) {
    (value["start"].as_u64().unwrap(), value["end"].as_u64().unwrap())
}

fn sha256(text: &str) -> String {
    intramuros_ingest::document::ContentHash::of(text.as_bytes()).to_string()
}

#[test]
fn documents_that_contradict_each_other_are_shown_side_by_side_and_replaced_ones_are_not() {
    let scratch = Scratch::new();
    scratch.write("leave-2023.md", "# Leave policy 2023\n\nEmployees have 22 days of annual leave a year.\n");
    scratch.write("leave-2025.md", "# Leave policy 2025\n\nEmployees have 25 days of annual leave a year.\n");
    scratch.write("phones.md", "# Phones 2024 (replaced)\n\nThe limit for phone calls is 40 euros a month.\n");
    scratch.write("phones-2026.md", "# Phones 2026\n\nThe limit for phone calls is 55 euros a month.\n");
    scratch.ingest(&["--acl", "everyone"]);
    let answer = scratch.ask("How many days of annual leave do employees have a year?", None, "extract");
    assert_eq!(answer["differing"], serde_json::json!([1, 2]), "{answer}");
    let text = answer["answer"].as_str().unwrap();
    assert!(
        text.starts_with("The documents differ: Leave policy 2025; Leave policy 2023\n«Employees have 25"),
        "{text}"
    );
    let answer = scratch.ask("How many days of annual leave did employees have in 2023?", None, "extract");
    assert!(answer.get("differing").is_none() && answer["citations"][0]["quote"].as_str().unwrap().contains("22"));
    let limit = |question: &str| {
        let answer = scratch.ask(question, None, "extract");
        assert!(answer.get("differing").is_none(), "{answer}");
        answer["citations"][0]["quote"].as_str().unwrap().to_owned()
    };
    assert!(limit("What is the limit for phone calls a month?").contains("55"));
    assert!(limit("What was the limit for phone calls a month in 2024?").contains("40"));
}

#[test]
fn a_list_of_questions_answers_with_the_answer_and_a_list_with_its_items() {
    let scratch = Scratch::new();
    let faq = "# IT questions\n\n## How do I reset my password?\n\nGo to the page Passport and choose Forgotten.\n\n\
               ## How do I connect from home?\n\nUse the client Warden with your card.\n\n\
               ## What do I hand in with travel expenses?\n\nHand in the following:\n\n- every receipt\n- form V-2\n";
    scratch.write("faq.md", faq);
    scratch.ingest(&["--acl", "everyone"]);
    let quoted = |question: &str| scratch.ask(question, None, "extract")["answer"].as_str().unwrap().to_owned();
    let answer = quoted("How do I reset my password?");
    assert!(answer.starts_with("«Go to the page Passport and choose Forgotten.» [1]"), "{answer}");
    let answer = quoted("How do I connect from home?");
    assert!(answer.starts_with("«Use the client Warden with your card.» [1]"), "{answer}");
    let answer = quoted("What do I hand in with travel expenses?");
    assert!(answer.contains("- every receipt\n- form V-2"), "{answer}");
}

#[test]
fn a_question_in_the_other_language_finds_its_document_and_one_in_its_own_comes_first() {
    let scratch = Scratch::new();
    scratch.write("canteen.md", "# Canteen\n\nLunch is served between 12:30 and 14:15. Visitors pay 9 euros.\n");
    scratch.write("garantia.md", "# Bombas\n\nLa garantía de las bombas dura cinco años desde la compra.\n");
    scratch.write("lamps.md", "# Lamps\n\nThe lamps are switched off at nine. The porter does it.\n");
    scratch.ingest(&["--acl", "everyone"]);
    let quoted = |question: &str| -> String {
        scratch.ask(question, None, "extract")["citations"][0]["quote"].as_str().unwrap_or_default().to_owned()
    };
    assert!(quoted("¿Cuánto pagan los visitantes?").contains("9 euros"));
    assert!(quoted("¿A qué hora se apagan las lámparas?").contains("at nine"));
    assert!(quoted("How long is the warranty of the pumps?").contains("cinco años"));

    scratch.write("warranty.md", "# Pumps\n\nThe warranty of the pumps is five years from purchase.\n");
    scratch.ingest(&["--acl", "everyone"]);
    assert!(quoted("How long is the warranty of the pumps?").contains("five years"));
    assert!(quoted("¿Cuánto dura la garantía de las bombas?").contains("cinco años"));
}

#[test]
fn each_of_the_names_that_a_question_joins_has_its_quote() {
    let scratch = Scratch::new();
    for (name, price) in [("Heron", 310), ("Osprey", 275), ("Kestrel", 190)] {
        let text = format!("# {name} meter\n\nThe price of the {name} is {price} euros. It weighs two kilos.\n");
        scratch.write(&format!("{name}.md"), text);
    }
    scratch.ingest(&["--acl", "everyone"]);
    let answer = scratch.ask("What is the price of the Heron and of the Osprey?", None, "extract");
    let text = answer["answer"].as_str().unwrap();
    assert!(text.contains("310") && text.contains("275") && !text.contains("190"), "{text}");
}
