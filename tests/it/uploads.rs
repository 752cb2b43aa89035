//! Documents in over HTTP: uploads, their rights, deletion, originals, and what a kill at any moment leaves.

use std::path::Path;

use serde_json::{Value, json};

use crate::common::harness::Scratch;
use crate::common::serving::{Reply, Serving};

fn job_of(reply: &Reply) -> String {
    reply.json()["job"]["job_id"].as_str().unwrap().to_owned()
}

fn document_of(reply: &Reply) -> String {
    reply.json()["documents"][0]["document_id"].as_str().unwrap().to_owned()
}

/// Uploads one file and waits until it can be found.
fn brought_in(server: &Serving, key: &str, name: &str, content: &str, readers: &str) -> String {
    let reply = server.upload(key, name, content.as_bytes(), readers).expect(202);
    let job = server.finished(&job_of(&reply), key);
    assert_eq!(job["state"], "done", "{job}");
    document_of(&reply)
}

fn finds(server: &Serving, key: &str, question: &str, id: &str) -> bool {
    server.post("/api/v1/search", key, &json!({ "question": question })).expect(200).body.contains(id)
}

/// What anybody gets of a document by every route.
fn replies(server: &Serving, key: &str, id: &str) -> Vec<u16> {
    let parts = ["", "/text", "/original"];
    parts.iter().map(|part| server.get(&format!("/api/v1/documents/{id}{part}"), key).status).collect()
}

fn remove_space(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn an_upload_is_found_by_its_readers_replaced_narrowed_and_deleted() {
    let scratch = Scratch::new();
    let (lea, ana) = (scratch.key("lea", &["legal"], "admin"), scratch.key("ana", &["legal"], "member"));
    let rosa = scratch.key("rosa", &[], "member");
    let server = scratch.serve();
    let text = "# Parking\n\nThe garage in Calle Sirio closes at midnight and opens at six.\n";
    server.upload(&ana, "parking.md", text.as_bytes(), "everyone").expect(403);
    server.upload("im_wrong", "parking.md", text.as_bytes(), "everyone").expect(401);
    let id = brought_in(&server, &lea, "dir/parking.md", text, "everyone");

    let question = "When does the garage in Calle Sirio close?";
    for key in [&lea, &ana, &rosa] {
        assert_eq!(replies(&server, key, &id), [200, 200, 200]);
        assert!(finds(&server, key, question, &id));
    }
    let listed = server.get("/api/v1/documents?q=PARK&source=uploads&limit=1", &rosa).expect(200).json();
    assert_eq!(listed["documents"][0]["document_id"], json!(id));
    assert_eq!(listed["documents"][0]["path"], "parking.md");
    assert_eq!(listed["documents"][0]["uri"], format!("/documents/{id}"));
    assert_eq!(listed["next"], Value::Null);
    let part = server.get(&format!("/api/v1/documents/{id}/text?start=2&end=9"), &rosa).expect(200).json();
    assert_eq!((&part["start"], &part["end"]), (&json!(2), &json!(9)), "{part}");
    assert_eq!(part["text"].as_str().unwrap().chars().count(), 7);
    let whole = server.get(&format!("/api/v1/documents/{id}/text"), &rosa).expect(200).json();
    assert_eq!(whole["length"].as_u64().unwrap() as usize, whole["text"].as_str().unwrap().chars().count());
    server.get(&format!("/api/v1/documents/{id}/text?start=9&end=2"), &rosa).expect(400);
    let original = server.get(&format!("/api/v1/documents/{id}/original"), &rosa).expect(200);
    assert_eq!(original.body, text);
    assert_eq!(original.header("content-type"), Some("text/plain; charset=utf-8"));
    assert!(original.header("content-security-policy").unwrap().contains("sandbox"));
    assert_eq!(original.header("x-content-type-options"), Some("nosniff"));

    // A new version for fewer people: the old one is closed to the others from the reply on, job or not.
    let newer = "# Parking\n\nThe garage in Calle Sirio closes at eleven and opens at seven.\n";
    let reply = server.upload(&lea, "parking.md", newer.as_bytes(), "group:legal").expect(202);
    assert_eq!(document_of(&reply), id);
    assert_eq!(replies(&server, &rosa, &id), [404, 404, 404]);
    assert!(!finds(&server, &rosa, question, &id));
    server.finished(&job_of(&reply), &lea);
    assert_eq!(replies(&server, &rosa, &id), [404, 404, 404]);
    assert_eq!(server.get(&format!("/api/v1/documents/{id}/original"), &ana).expect(200).body, newer);
    assert!(finds(&server, &ana, question, &id) && !finds(&server, &rosa, question, &id));

    server.delete(&format!("/api/v1/documents/{id}"), &ana).expect(403);
    server.delete(&format!("/api/v1/documents/{id}"), &lea).expect(204);
    for key in [&lea, &ana, &rosa] {
        assert_eq!(replies(&server, key, &id), [404, 404, 404]);
        assert!(!finds(&server, key, question, &id));
    }
    server.delete(&format!("/api/v1/documents/{id}"), &lea).expect(404);
    let jobs = server.get("/api/v1/jobs?limit=1", &lea).expect(200).json();
    server.finished(jobs["jobs"][0]["job_id"].as_str().unwrap(), &lea);
    drop(server);
    let left = scratch.run(["--json", "documents"]).assert_ok().json();
    assert_eq!(left["documents"], json!([]));
    assert_eq!(scratch.verified()["chunks"], 0);
}

#[test]
fn departments_do_not_see_or_replace_each_others_files_of_the_same_name() {
    let scratch = Scratch::new();
    let (lea, marta) = (scratch.key("lea", &["legal"], "admin"), scratch.key("marta", &["hr"], "admin"));
    let server = scratch.serve();
    let of_hr = brought_in(&server, &marta, "contrato.md", "# Contrato\n\nEl despido se firma el lunes.\n", "group:hr");
    let reply =
        server.upload(&lea, "contrato.md", "# Contrato\n\nLa nave se alquila en mayo.\n".as_bytes(), "group:legal");
    let of_legal = document_of(&reply);
    assert_ne!(of_legal, of_hr);
    let job = server.finished(&job_of(&reply), &lea);
    assert_eq!((&job["report"]["new"], &job["report"]["changed"]), (&json!(1), &json!(0)), "{job}");
    assert_eq!(replies(&server, &lea, &of_hr), [404, 404, 404]);
    assert!(server.get(&format!("/api/v1/documents/{of_hr}/original"), &marta).expect(200).body.contains("despido"));
    assert!(server.get(&format!("/api/v1/documents/{of_legal}/original"), &lea).expect(200).body.contains("nave"));

    // What fails is named to those who may read it, and counted for the others.
    let reply = server.upload(&marta, "despido-juan.pdf", b"this is no PDF", "group:hr").expect(202);
    let job = job_of(&reply);
    let theirs = server.finished(&job, &marta);
    assert!(theirs["report"]["failures"][0]["path"].as_str().is_some_and(|path| path.ends_with("despido-juan.pdf")));
    assert_eq!(theirs["unnamed"], 0, "{theirs}");
    for path in [format!("/api/v1/jobs/{job}"), "/api/v1/jobs".to_owned(), "/api/v1/sources".to_owned()] {
        let seen = server.get(&path, &lea).expect(200);
        assert!(!seen.body.contains("despido-juan"), "{path}: {}", seen.body);
    }
    let seen = server.get(&format!("/api/v1/jobs/{job}"), &lea).expect(200).json();
    assert_eq!((&seen["report"]["failed"], &seen["unnamed"]), (&json!(1), &json!(1)), "{seen}");

    // Who sends a file for others sends its next version, too, and may take it away.
    let first = brought_in(&server, &lea, "sueldos.md", "# Sueldos\n\nSuben en enero.\n", "group:hr");
    let second = brought_in(&server, &lea, "sueldos.md", "# Sueldos\n\nSuben en marzo.\n", "group:hr");
    assert_eq!(first, second);
    assert_eq!(replies(&server, &lea, &second), [404, 404, 404]);
    assert!(server.get(&format!("/api/v1/documents/{second}/original"), &marta).expect(200).body.contains("marzo"));
    server.delete(&format!("/api/v1/documents/{second}"), &lea).expect(204);
    assert_eq!(replies(&server, &marta, &second), [404, 404, 404]);

    // Long names that differ only at their end are two files.
    let long = |last: &str| format!("{}{last}.md", "acta ".repeat(60));
    let one = brought_in(&server, &lea, &long("1"), "# One\n\nThe first of the minutes.\n", "group:legal");
    let two = brought_in(&server, &lea, &long("2"), "# Two\n\nThe second of the minutes.\n", "group:legal");
    assert_ne!(one, two);
    assert!(server.get(&format!("/api/v1/documents/{one}/original"), &lea).expect(200).body.contains("first"));
}

#[test]
fn a_deletion_holds_while_a_sync_that_listed_the_file_is_still_writing() {
    let scratch = Scratch::new();
    let key = scratch.key("lea", &[], "admin");
    let server = scratch.serve();
    let target =
        brought_in(&server, &key, "target.md", "# Target\n\nThe heliport code word is Albatros.\n", "everyone");
    // Much work before it in the order of paths, and a new version of it that the running pass will write.
    for number in 0..12 {
        let text = (0..400).map(|line| format!("Clause {line} of contract {number} runs for {line} months.\n\n"));
        server.upload(&key, &format!("a{number}.md"), text.collect::<String>().as_bytes(), "everyone").expect(202);
    }
    let newer = "# Target\n\nThe heliport code word is Albatros, and it changed.\n";
    let reply = server.upload(&key, "target.md", newer.as_bytes(), "everyone").expect(202);
    while server.get(&format!("/api/v1/jobs/{}", job_of(&reply)), &key).expect(200).json()["state"] == "queued" {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    server.delete(&format!("/api/v1/documents/{target}"), &key).expect(204);
    loop {
        assert!(!finds(&server, &key, "heliport code word", &target));
        assert_eq!(replies(&server, &key, &target), [404, 404, 404]);
        let jobs = server.get("/api/v1/jobs", &key).expect(200).json();
        let open = |job: &Value| job["state"] == "queued" || job["state"] == "running";
        if !jobs["jobs"].as_array().unwrap().iter().any(open) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    drop(server);
    assert_eq!(scratch.run(["--json", "documents"]).assert_ok().json()["documents"].as_array().unwrap().len(), 12);
    scratch.verified();
}

#[test]
fn what_cannot_be_taken_is_refused_and_leaves_nothing() {
    let scratch = Scratch::new();
    let key = scratch.key("lea", &[], "admin");
    let server = scratch.serve_with(|command| {
        command.env("INTRAMUROS_SERVER__MAX_UPLOAD_MIB", "1");
    });
    let refused = |name: &str, content: &[u8], readers: &str, status: u16| {
        let reply = server.upload(&key, name, content, readers).expect(status);
        reply.json()["message"].as_str().unwrap().to_owned()
    };
    assert!(refused("a.md", b"text", "", 400).contains("group:NAME"));
    assert!(refused("a.md", b"text", "lea", 400).contains("group:NAME"));
    let kinds = refused("plan.xlsx", b"text", "everyone", 400);
    assert!(kinds.contains("pdf") && kinds.contains("docx"), "{kinds}");
    assert!(refused("", b"text", "everyone", 400).contains("file name"));
    assert!(refused("a.md", b"", "everyone", 400).contains("empty"));
    assert!(refused("big.txt", &vec![b'x'; (1 << 20) + 1], "everyone", 413).contains("1 MiB"));
    assert!(refused("bigger.txt", &vec![b'x'; 3 << 20], "everyone", 413).contains("max_upload_mib"));
    let reply = server.post("/api/v1/documents", &key, &json!({ "file": "x" })).expect(400);
    assert!(reply.body.contains("multipart/form-data"), "{}", reply.body);
    let held = |directory: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let uploads = scratch.data().join("uploads");
    assert_eq!(held(&uploads), [".incoming"]);
    assert!(held(&uploads.join(".incoming")).is_empty());
    assert_eq!(server.get("/api/v1/jobs", &key).expect(200).json()["jobs"], json!([]));
    // Just fitting is fine.
    server.upload(&key, "fits.txt", &vec![b'x'; 1 << 20], "everyone").expect(202);
}

#[test]
fn killed_at_any_moment_nothing_acknowledged_is_lost_and_jobs_go_on() {
    let scratch = Scratch::new();
    let key = scratch.key("lea", &[], "admin");
    let mut acknowledged = Vec::new();
    for round in 0..6_u64 {
        let server = scratch.serve();
        for number in 0..4 {
            let text =
                format!("# Memo {round}-{number}\n\nThe budget line {round}{number} is approved for the quarter.\n");
            let filler = "It is reviewed by the committee every spring and every autumn. ".repeat(40);
            let name = format!("memo-{round}-{number}.md");
            let reply = server.upload(&key, &name, format!("{text}\n{filler}\n").as_bytes(), "everyone").expect(202);
            acknowledged.push(document_of(&reply));
        }
        // At once, during the pass, or after it.
        std::thread::sleep(std::time::Duration::from_millis(round * 150));
        server.kill();
    }
    // One more upload is cut off in the middle of its body.
    let server = scratch.serve();
    let half = "POST /api/v1/documents HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nContent-Length: 100000\r\n\
        Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; \
        filename=\"half.md\"\r\n\r\nhalf a document";
    let mut stream = std::net::TcpStream::connect(server.base.trim_start_matches("http://")).unwrap();
    std::io::Write::write_all(&mut stream, half.replace("KEY", &key).as_bytes()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    server.kill();

    let server = scratch.serve();
    let jobs = server.get("/api/v1/jobs?limit=200", &key).expect(200).json();
    for job in jobs["jobs"].as_array().unwrap() {
        let ended = server.finished(job["job_id"].as_str().unwrap(), &key);
        assert_eq!(ended["state"], "done", "{ended}");
    }
    for id in &acknowledged {
        server.get(&format!("/api/v1/documents/{id}"), &key).expect(200);
    }
    let listed = server.get("/api/v1/documents?limit=200", &key).expect(200).json();
    assert_eq!(listed["documents"].as_array().unwrap().len(), acknowledged.len());
    assert!(std::fs::read_dir(scratch.data().join("uploads/.incoming")).map_or(0, Iterator::count) == 0);
    drop(server);
    scratch.verified();
}

#[test]
fn originals_are_those_that_were_indexed() {
    let scratch = Scratch::new();
    scratch.write("a.md", "# Alpha\n\nThe alpha meeting takes place on the first Monday of each month.\n");
    scratch.write("b.html", "<h1>Beta</h1><script>alert(1)</script><p>The beta meeting takes place on Tuesdays.</p>");
    scratch.ingest(&["--acl", "everyone"]);
    let key = scratch.key("lea", &[], "admin");
    let server = scratch.serve();
    let listed = server.get("/api/v1/documents", &key).expect(200).json();
    let ids: Vec<&str> =
        listed["documents"].as_array().unwrap().iter().map(|d| d["document_id"].as_str().unwrap()).collect();
    let page = server.get(&format!("/api/v1/documents/{}/original", ids[1]), &key).expect(200);
    assert_eq!(page.header("content-type"), Some("application/octet-stream"));
    assert!(page.header("content-disposition").unwrap().starts_with("attachment;"));
    // What a folder holds is deleted in the folder.
    let refused = server.delete(&format!("/api/v1/documents/{}", ids[0]), &key).expect(409);
    assert!(refused.json()["message"].as_str().unwrap().contains("docs"));

    scratch.write("a.md", "# Alpha\n\nThe alpha meeting is now on Fridays.\n");
    let changed = server.get(&format!("/api/v1/documents/{}/original", ids[0]), &key).expect(409);
    assert!(changed.json()["message"].as_str().unwrap().contains("changed since it was indexed"));
    scratch.remove("b.html");
    server.get(&format!("/api/v1/documents/{}/original", ids[1]), &key).expect(404);

    // A sync by name brings both in step.
    let sources = server.get("/api/v1/sources", &key).expect(200).json();
    let name = sources["sources"][0]["name"].as_str().unwrap().to_owned();
    assert_eq!(sources["sources"][0]["documents"], json!({ "indexed": 2, "failed": 0, "pending": 0 }));
    let path = format!("/api/v1/sources/{}/sync", name.replace('/', "%2F"));
    let job = server.post(&path, &key, &json!({})).expect(202).json();
    let ended = server.finished(job["job_id"].as_str().unwrap(), &key);
    assert_eq!((&ended["report"]["changed"], &ended["report"]["deleted"]), (&json!(1), &json!(1)), "{ended}");
    assert_eq!(ended["requested_by"], "lea");
    let original = server.get(&format!("/api/v1/documents/{}/original", ids[0]), &key).expect(200);
    assert!(remove_space(&original.body).contains("now on Fridays"));
    server.post("/api/v1/sources/nowhere/sync", &key, &json!({})).expect(404);
}

#[test]
fn a_job_stops_with_the_server_goes_on_after_it_and_can_be_cancelled() {
    let scratch = Scratch::new();
    for number in 0..120 {
        let text: String =
            (0..60).map(|line| format!("Rule {line} of chapter {number} holds for all sites.\n\n")).collect();
        scratch.write(&format!("chapter-{number}.md"), text);
    }
    scratch.write("../empty/first.md", "# First\n\nThe first one.\n");
    let empty = scratch.path().join("empty");
    scratch.run(["ingest", empty.to_str().unwrap(), "--acl", "everyone"]).assert_ok();
    // Known by a run that was over at once: the folder is empty then.
    let (docs, aside) = (scratch.docs(), scratch.path().join("aside"));
    std::fs::rename(&docs, &aside).unwrap();
    std::fs::create_dir(&docs).unwrap();
    scratch.run(["ingest", docs.to_str().unwrap(), "--acl", "everyone"]).assert_ok();
    std::fs::remove_dir(&docs).unwrap();
    std::fs::rename(&aside, &docs).unwrap();

    let key = scratch.key("lea", &[], "admin");
    let server = scratch.serve();
    let sync = |server: &Serving, folder: &Path| {
        let name = folder.canonicalize().unwrap().to_str().unwrap().replace('/', "%2F");
        server.post(&format!("/api/v1/sources/{name}/sync"), &key, &json!({})).expect(202).json()
    };
    let id = |job: &Value| job["job_id"].as_str().unwrap().to_owned();
    let long = sync(&server, &docs);
    let waiting = sync(&server, &empty);
    assert_eq!(id(&waiting), id(&sync(&server, &empty)), "one job a source in the queue");
    let until_progress = |server: &Serving, job: &str| loop {
        let record = server.get(&format!("/api/v1/jobs/{job}"), &key).expect(200).json();
        if record["progress"]["documents_done"].as_u64().is_some_and(|done| done > 3) {
            assert_eq!(record["progress"]["documents_total"], 120, "{record}");
            return;
        }
        assert_ne!(record["state"], "done", "{record}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    };
    until_progress(&server, &id(&long));
    assert!(server.stop(), "it ends by itself");
    let states = |scratch: &Scratch| -> Vec<String> {
        let jobs = scratch.run(["--json", "jobs"]).assert_ok().json();
        let state = |job: &Value| format!("{} {}", job["job_id"].as_str().unwrap(), job["state"].as_str().unwrap());
        jobs["jobs"].as_array().unwrap().iter().map(state).collect()
    };
    assert!(states(&scratch).contains(&format!("{} queued", id(&long))), "{:?}", states(&scratch));

    let server = scratch.serve();
    until_progress(&server, &id(&long));
    server.post(&format!("/api/v1/jobs/{}/cancel", id(&waiting)), &key, &json!({})).expect(202);
    assert_eq!(server.finished(&id(&waiting), &key)["state"], "interrupted");
    server.post(&format!("/api/v1/jobs/{}/cancel", id(&long)), &key, &json!({})).expect(202);
    let ended = server.finished(&id(&long), &key);
    assert_eq!((&ended["state"], &ended["report"]["interrupted"]), (&json!("interrupted"), &json!(true)), "{ended}");
    server.post(&format!("/api/v1/jobs/{}/cancel", id(&long)), &key, &json!({})).expect(409);
    // What was done is kept, and the rest follows.
    let again = sync(&server, &docs);
    let ended = server.finished(&id(&again), &key);
    assert_eq!(ended["state"], "done");
    assert!(ended["report"]["unchanged"].as_u64().unwrap() > 3, "{ended}");
    drop(server);
    assert_eq!(scratch.run(["--json", "documents"]).assert_ok().json()["documents"].as_array().unwrap().len(), 121);
    scratch.verified();
}

#[test]
fn killed_during_a_sync_the_job_goes_on_after_the_restart() {
    let scratch = Scratch::new();
    scratch.write("first.md", "# First\n\nThe first one.\n");
    scratch.ingest(&["--acl", "everyone"]);
    const FILES: usize = 40;
    for number in 0..FILES {
        let text: String =
            (0..30).map(|line| format!("Rule {line} of chapter {number} holds everywhere.\n\n")).collect();
        scratch.write(&format!("chapter-{number}.md"), format!("# Chapter {number}\n\n{text}"));
    }
    let key = scratch.key("lea", &[], "admin");
    let mut server = scratch.serve();
    let name = scratch.docs().canonicalize().unwrap().to_str().unwrap().replace('/', "%2F");
    let job = server.post(&format!("/api/v1/sources/{name}/sync"), &key, &json!({})).expect(202).json();
    let job = job["job_id"].as_str().unwrap().to_owned();
    for killed in 0..3 {
        loop {
            let record = server.get(&format!("/api/v1/jobs/{job}"), &key).expect(200).json();
            assert_ne!(record["state"], "done", "it ended before it could be killed: {record}");
            // Each time at another place of the pass: listing, reading, in the middle of writing.
            if killed == 0 || record["progress"]["documents_done"].as_u64().is_some_and(|done| done >= killed) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        server.kill();
        server = scratch.serve();
    }
    let ended = server.finished(&job, &key);
    assert_eq!((&ended["state"], &ended["report"]["failed"]), (&json!("done"), &json!(0)), "{ended}");
    let listed = server.get("/api/v1/documents?limit=200", &key).expect(200).json();
    assert_eq!(listed["documents"].as_array().unwrap().len(), FILES + 1);
    assert!(server.stop());
    assert_eq!(scratch.verified()["documents"], FILES + 1);
    assert_eq!(scratch.ingest(&[])["unchanged"], FILES + 1);
}

#[test]
fn only_administrators_see_sources_and_jobs_and_everybody_whether_it_is_well() {
    let scratch = Scratch::new();
    let (lea, ana) = (scratch.key("lea", &[], "admin"), scratch.key("ana", &[], "member"));
    let eva = scratch.key("eva", &[], "admin");
    let server = scratch.serve();
    let id = brought_in(&server, &lea, "a.md", "# A\n\nThe first document of the test.\n", "user:ana");
    for path in ["/api/v1/sources", "/api/v1/jobs", "/api/v1/jobs/x"] {
        server.get_unknown(path).expect(401);
        server.get(path, &ana).expect(403);
    }
    server.get("/api/v1/jobs/x", &lea).expect(404);
    server.post("/api/v1/sources/uploads/sync", &ana, &json!({})).expect(403);
    // An administrator who is no reader: figures, not the document.
    let sources = server.get("/api/v1/sources", &lea).expect(200).json();
    assert_eq!(sources["sources"][0]["name"], "uploads");
    assert_eq!(sources["sources"][0]["documents"]["indexed"], 1);
    assert_eq!(sources["sources"][0]["last_job"]["state"], "done");
    assert_eq!(replies(&server, &lea, &id), [404, 404, 404]);
    server.delete(&format!("/api/v1/documents/{id}"), &eva).expect(404);
    assert_eq!(replies(&server, &ana, &id), [200, 200, 200]);
    server.get("/api/v1/documents/no-id", &ana).expect(404);
    server.get("/api/v1/documents?limit=0", &ana).expect(400);
    server.get("/api/v1/documents?after=x", &ana).expect(400);

    server.get_unknown("/healthz").expect(200);
    let ready = server.get_unknown("/readyz").expect(200).json();
    assert_eq!((&ready["ready"], ready["checks"].as_array().unwrap().len()), (&json!(true), 4));
    drop(server);
    scratch.run(["documents", "forget", "uploads"]).assert_fails_with(&["delete them one by one"]);
    let inside = scratch.data().join("uploads");
    scratch.run(["ingest", inside.to_str().unwrap()]).assert_fails_with(&["ingest folders beside it"]);
    let report = scratch.run(["--json", "ingest"]).assert_ok().json();
    assert_eq!((&report["sources"][0]["source"], &report["sources"][0]["unchanged"]), (&json!("uploads"), &json!(1)));
}

#[test]
fn lists_are_paged_in_order_without_gaps() {
    let scratch = Scratch::new();
    for number in 0..25 {
        // Titles repeat, so that the order must go on by id.
        scratch.write(&format!("d{number}.md"), format!("# Título {}\n\nText of document {number}.\n", number % 3));
    }
    scratch.ingest(&["--acl", "everyone"]);
    let key = scratch.key("ana", &[], "member");
    let server = scratch.serve();
    for (query, expected) in [("", 25), ("&q=titulo%201", 8), ("&q=nothing", 0), ("&source=nowhere", 0)] {
        let (mut ids, mut after) = (Vec::new(), String::new());
        loop {
            let page = server.get(&format!("/api/v1/documents?limit=4{query}{after}"), &key).expect(200).json();
            let documents = page["documents"].as_array().unwrap();
            assert!(documents.len() <= 4);
            ids.extend(documents.iter().map(|document| document["document_id"].as_str().unwrap().to_owned()));
            let Some(next) = page["next"].as_str() else { break };
            assert_eq!(documents.len(), 4);
            after = format!("&after={next}");
        }
        let all = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!((ids.len(), all), (expected, expected), "{query}");
    }
}
